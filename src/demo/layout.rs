//! Text in columns (pure).

/// Columns a character takes: Chinese ones take two.
pub(super) fn columns(c: char) -> usize {
    if ('\u{1100}'..='\u{115f}').contains(&c) || ('\u{2e80}'..='\u{ffe6}').contains(&c) { 2 } else { 1 }
}

/// As much of a text as fits.
pub fn cut(text: &str, width: usize) -> String {
    let mut left = width;
    let fits = text.chars().take_while(|c| {
        let fits = columns(*c) <= left;
        left = left.saturating_sub(columns(*c));
        fits
    });
    fits.collect()
}

/// In lines at blanks; what follows the first line is indented below the text.
pub fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length: usize = word.chars().map(columns).sum();
        let Some(line) = lines.last_mut() else { break };
        if used > 0 && used + 1 + length > width {
            lines.push(format!("{:indent$}{word}", ""));
            used = indent + length;
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    lines.into_iter().map(|line| cut(&line, width)).collect()
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_takes_two_columns_and_wrapped_lines_are_indented() {
        assert_eq!(cut("百助x", 4), "百助");
        assert_eq!(cut("百助x", 3), "百");
        assert_eq!(wrap("00:01  one two three", 16, 7), ["00:01  one two", "       three"]);
    }

    #[test]
    fn digits_are_grouped() {
        let table = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
    }
}
