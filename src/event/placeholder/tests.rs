use super::*;

#[test]
fn what_still_is_a_macro_is_no_id() {
    let macros = [
        "__x__",
        "____",
        "__a b__",
        "__CLICK_ID__",
        "{{x}}",
        "{{}}",
        "{}",
        "{x}",
        "${x}",
        "${click.id}",
        "#{x}",
        "%{x}",
        "%%X%%",
        "%%%%",
        "[x]",
        "[]",
        "[object Object]",
        "<click_id>",
        "%7B%7Bx%7D%7D",
        "%7bx%7d",
        "%24%7Bx%7D",
        "%5Bx%5D",
        "__标识__",
        "{标识}",
    ];
    let nothing = ["null", "NULL", "(null)", "undefined", "None", "nil", "NaN", "<nil>", "%28null%29"];
    for text in macros.into_iter().chain(nothing) {
        assert!(is_placeholder(text), "{text}");
    }
    let ids = [
        "",
        "x",
        "___",
        "__x",
        "x__",
        "_x_",
        "{",
        "}",
        "{x",
        "x}",
        "Null",
        "nullx",
        "a{b}",
        "None1",
        "$x",
        "x[0]",
        "[",
        "%%",
        "%%%",
        "%x%",
        "%7Bx",
        "%7D",
        "标",
        "a1b2c3d4e5f60718",
    ];
    for text in ids {
        assert!(!is_placeholder(text), "{text}");
    }
}
