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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_takes_two_columns_and_wrapped_lines_are_indented() {
        assert_eq!(cut("百助x", 4), "百助");
        assert_eq!(cut("百助x", 3), "百");
        assert_eq!(wrap("00:01  one two three", 16, 7), ["00:01  one two", "       three"]);
    }
}
