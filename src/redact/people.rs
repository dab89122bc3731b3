//! Finds the names of people in sentences that somebody writes about a parcel: after a word that announces a name
//! (签收人：张三), and before a phone number (王小明 13812345678).
//!
//! A Chinese name has no mark of its own, so that a sentence may keep one that stands elsewhere, and may lose a word
//! that is none: who publishes such sentences is careful with them all the same.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::secret::SECRET;
use super::{apply, mask_text, pattern};

/// A name is written with so many characters, most of the time.
const LONGEST_NAME: usize = 4;
/// So many are hidden where nothing shows where a name ends.
const USUAL_NAME: usize = 3;

/// What follows an announcing word without a mark between them and is no name: 派件员正在派件.
const NO_NAME: &str = "是为已正拒将派签无不未联电地要取本在请会因可处按与和或的代";
/// What stands before a phone number and is no name: 请致电 95338.
const BEFORE_NUMBER: [&str; 10] = ["电话", "联系", "手机", "号码", "热线", "致电", "拨打", "客服", "咨询", "联系方式"];
/// After one of these a name begins.
const BEFORE_NAME: [char; 7] = ['的', '由', '员', '人', '给', '是', '为'];

static ANNOUNCED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        "(?P<label>(?:签收|收件|收货|寄件|发件|取件|代收|代签|联系|经办|负责)人|",
        "(?:派件|快递|业务|投递|揽收|揽件|揽投|收派|配送|送货|派送|投送|快件)员|骑手|姓名|收方|寄方)",
        r"(?P<gap>(?:姓名)?[\s：:为是]*[【\[（(]?)(?P<name>[\p{Han}·]{1,4})",
    ))
});

static BEFORE_PHONE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?P<words>[\p{Han}·]{1,16})(?P<rest>[\s，,、：:]*[（(【\[]?\s*",
        r"(?:(?:\+?86-?)?1[3-9][0-9][0-9*]{4}[0-9]{4}|0[0-9]{2,3}-?[0-9]{7,8}))",
    ))
});

static LANDLINE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(?P<area>0[0-9]{2,3})(?P<dash>-?)[0-9]{7,8}\b"));

/// Masks what [`mask_text`] masks, the numbers of landlines, and the names of people as far as they can be found.
pub fn mask_sentence(text: &str) -> Cow<'_, str> {
    let mut text = mask_text(text);
    apply(&mut text, |t| ANNOUNCED.replace_all(t, |c: &Captures<'_>| announced(c)));
    apply(&mut text, |t| BEFORE_PHONE.replace_all(t, |c: &Captures<'_>| before_phone(c)));
    apply(&mut text, |t| LANDLINE.replace_all(t, "${area}${dash}***"));
    text
}

fn announced(found: &Captures<'_>) -> String {
    let (label, gap, name) = (&found["label"], &found["gap"], &found["name"]);
    if !gap.is_empty() {
        return format!("{label}{gap}{SECRET}");
    }
    if name.starts_with(|c| NO_NAME.contains(c)) {
        return found[0].to_owned();
    }
    let after: String = name.chars().skip(USUAL_NAME).collect();
    format!("{label}{SECRET}{after}")
}

fn before_phone(found: &Captures<'_>) -> String {
    let (words, rest) = (&found["words"], &found["rest"]);
    if BEFORE_NUMBER.iter().any(|word| words.ends_with(word)) {
        return found[0].to_owned();
    }
    let name = words.rsplit(BEFORE_NAME).next().unwrap_or_default();
    let name_length = match name.chars().count() {
        0 => return found[0].to_owned(),
        count @ 1..=LONGEST_NAME => count,
        _ => USUAL_NAME,
    };
    let kept: String = words.chars().take(words.chars().count() - name_length).collect();
    format!("{kept}{SECRET}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_in_the_sentences_of_couriers_are_masked() {
        for (sentence, masked) in [
            ("【深圳市】南山营业部的王小明（13812345678）已揽收", "【深圳市】南山营业部的***（138****5678）已揽收"),
            ("派件员：李静，电话：13987654321，正在派件", "派件员：***，电话：139****4321，正在派件"),
            ("已签收，签收人：张三，投诉电话（4000633333）", "已签收，签收人：***，投诉电话（4000633333）"),
            ("签收人是【欧阳小明】", "签收人是【***】"),
            ("收件人张三丰拒收", "收件人***拒收"),
            ("快件由李静 13987654321 派送", "快件由*** 139****4321 派送"),
            ("如有疑问请致电13987654321", "如有疑问请致电139****4321"),
            ("派件员正在派件", "派件员正在派件"),
            ("请联系 0755-12345678", "请联系 0755-***"),
            ("【北京市】快件到达北京转运中心", "【北京市】快件到达北京转运中心"),
            ("", ""),
        ] {
            assert_eq!(mask_sentence(sentence), masked);
            assert_eq!(mask_sentence(masked), masked, "once masked it stays as it is");
        }
    }
}
