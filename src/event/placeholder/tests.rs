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

#[test]
fn more_than_a_trans_id_may_be_is_no_id_of_a_click() {
    let unfilled = [
        "%CLICKID%",
        "%recipient.id%",
        "$ob_click_id$",
        "#click-id#",
        "@gclid@",
        "*|CLICK|*",
        "!!CLICK!!",
        "%3Cclickid%3E",
        "%3cclickid%3e",
        "&lt;clickid&gt;",
        "%25%25CLICK%25%25",
        "%23%7Bx%7D",
        "Null",
        "nUll",
        "(Null)",
        "none",
        "NONE",
        "(none)",
        "Undefined",
        "nan",
        "n/a",
        "N/A",
        "(not set)",
        "(not%20set)",
        "-",
    ];
    for text in unfilled {
        assert!(is_unfilled(text), "{text}");
        assert!(!is_placeholder(text), "{text}");
    }
    assert!(is_unfilled("__CLICK_ID__") && is_unfilled("%%X%%") && is_unfilled("[x]") && is_unfilled("NULL"));
    // What ids of platforms look like, and what only resembles a macro.
    let ids = [
        "a1b2c3d4e5f60718",
        "fb.1.1736890000000.AbCdEfGh",
        "E.C.P.abc-_~",
        "EAIaIQobChMI-_w==",
        "wx0abc%2Fd%3D",
        "%2Fabc%2F",
        "%41bc%",
        "%1%",
        "%%",
        "%",
        "$$",
        "$1$",
        "##",
        "#1001#",
        "@",
        "--",
        "-1",
        "_",
        "nullx",
        "none1",
        "%a b%",
        "0",
        "https://a.example/cb?x=%25%25",
        "",
    ];
    for text in ids {
        assert!(!is_unfilled(text), "{text}");
    }
}
