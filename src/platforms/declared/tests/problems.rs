use super::super::program::compile;

const HEAD: &str = "name = \"p\"\ntitle = \"P\"\nbase_url = \"https://p.example.com\"\n[account.keys]\nsecret = { secret = true }\n\
                    \"token.client_id\" = {}\n[events]\npay = 1\n";

/// What is wrong with a file whose head is right; lines count from the first one after it.
fn told(rest: &str) -> Vec<String> {
    let text = format!("{HEAD}{rest}");
    let head = HEAD.lines().count();
    let problems = match compile("p.toml", &text) {
        Ok(_) => return Vec::new(),
        Err(found) => found.problems,
    };
    let line = |text: String| {
        let (line, rest) = text.strip_prefix("p.toml:").unwrap().split_once(':').unwrap();
        format!("{}:{rest}", line.parse::<usize>().unwrap() - head)
    };
    problems.iter().map(|problem| line(problem.to_string())).collect()
}

/// The same of a file that has no conversions; a problem without a line keeps its text.
pub(super) fn told_of(rest: &str) -> Vec<String> {
    let head = "name = \"p\"\ntitle = \"P\"\nbase_url = \"https://p.example.com\"\n";
    let lines = head.lines().count();
    let problems = match compile("p.toml", &format!("{head}{rest}")) {
        Ok(_) => return Vec::new(),
        Err(found) => found.problems,
    };
    let line = |text: String| {
        let text = text.strip_prefix("p.toml:").unwrap().trim_start();
        match text.split_once(':').map(|(line, rest)| (line.parse::<usize>(), rest)) {
            Some((Ok(line), rest)) => format!("{}:{rest}", line - lines),
            _ => text.to_owned(),
        }
    };
    problems.iter().map(|problem| line(problem.to_string())).collect()
}

const ANSWER: &str = "[answer]\ndelivered = \"status == 200\"\n";

#[test]
fn a_problem_of_an_expression_names_file_key_and_the_place_in_it() {
    let request = |line: &str| format!("{ANSWER}[[request]]\nurl = \"/x\"\n{line}");
    let rows = [
        (
            "body = \"ab {{ evnt.x }}\"",
            "5: request.0.body: at character 7 (`evnt.x`): nothing is called `evnt` here; did you mean `event`?",
        ),
        (
            "body = \"{{ token.access }}\"",
            "5: request.0.body: at character 4 (`token.access`): nothing is called `token` here; there are event, published, account, native, now_ms",
        ),
        (
            "query = { a = \"{{ account.secrt }}\" }",
            "5: request.0.query.a: at character 4 (`account.secrt`): `secrt` is no key of [account.keys]; did you mean `secret`?",
        ),
        (
            "json = { a = [1, { b = \"{{ event.x | mdd5 }}\" }] }",
            "5: request.0.json.a.1.b: at character 14 (`mdd5`): there is no filter `mdd5`; did you mean `md5`?",
        ),
        (
            "when = \"event.x is definedd\"",
            "5: request.0.when: at character 12 (`definedd`): there is no test `definedd`",
        ),
        ("body = \"x {{ event.x\"", "5: request.0.body: at character 3 (`{{ event.x`): the braces are never closed"),
        ("body = \"{{ }}\"", "5: request.0.body: at character 3 (` `): nothing stands between the braces"),
        ("headers = { \"a b\" = \"x\" }", "5: request.0.headers.a b: \"a b\" is no name of a header"),
        ("headers = { host = \"x\" }", "5: request.0.headers.host: the worker alone writes host"),
        ("method = \"get\"", "5: request.0.method: has to be one of GET, POST, PUT, PATCH, DELETE"),
        ("body = \"x\"\nform = {}", "3: request.0: has more than one of body, form and json"),
        ("sign = { value = \"x\" }", "5: request.0.sign: has to have either `header` or `query` or `form`"),
        ("hosts = [\"x.example\"]", "5: request.0.hosts: stands without `callback`"),
        ("headers = { X-S = \"a\", x-s = \"b\" }", "3: request.0: has the header x-s twice"),
        (
            "headers = { x-s = \"a\" }\nsign = { header = \"X-S\", value = \"x\" }",
            "3: request.0: has the header X-S twice",
        ),
        (
            "callback = \"click.x\"\nhosts = [\"127.0.0.1\"]",
            "6: request.0.hosts.0: has to be a host name without scheme and port, not \"127.0.0.1\"",
        ),
    ];
    for (line, expected) in rows {
        assert_eq!(told(&request(line)), [expected], "{line}");
    }
    let told = told(&request("body = \"{{ event.x + }}\""));
    assert!(
        told.len() == 1 && told[0].starts_with("5: request.0.body: at character 1") && told[0].contains("syntax")
            || told[0].contains("unexpected"),
        "{told:?}"
    );
}

#[test]
fn rules_between_keys_are_told_all_at_once() {
    let rest = "[require]\n\"a b\" = \"\"\n[check]\nx = { when = \"\", says = \"\" }\n[[request]]\nurl = \"x\"\n[[request]]\nurl = \"/y\"\n\
                [batch]\n[answer]\n[answer.items]\n[token]\n";
    assert_eq!(
        told(rest),
        [
            "2: require.a b: is no dotted path of the event, e.g. \"click.ks_callback\" in quotes",
            "2: require.a b: is empty; write \"true\" where it must always be there",
            "4: check.x: says nothing: state in `says` why such an event is refused",
            "4: check.x: has no `when`",
            "6: request.0.url: has to be a path below base_url, beginning with /",
            "7: request.1: is never reached: the one before it has no `when`",
            "9: batch: has no `item`: state what each event contributes to `items`",
            "9: batch: no [[request]] names `items`",
            "11: answer.items: has no `at`: the list in the answer",
            "12: token.access: is missing: where the answer has the access token",
            "12: token.request.url: has to be a path below base_url, beginning with /",
            "12: token: is asked for, and no request names `token`: state where `token.access` goes",
        ]
    );
    let keys = "[[request]]\nurl = \"/x\"\n[answer]\n";
    assert_eq!(told(keys), ["3: answer.delivered: is missing: without it nothing would ever be delivered"]);
}

#[test]
fn a_secret_key_has_to_be_a_text() {
    for kind in ["integer", "flag"] {
        let told =
            told(&format!("{ANSWER}[account.keys.pin]\nsecret = true\nkind = \"{kind}\"\n[[request]]\nurl = \"/x\"\n"));
        assert!(told.len() == 1 && told[0].contains("account.keys.pin: is secret, so that"), "{kind}: {told:?}");
    }
}

#[test]
fn what_differs_per_event_cannot_stand_beside_the_items_of_a_batch() {
    let rest = format!(
        "{ANSWER}[[request]]\nurl = \"/x\"\nbody = \"{{{{ items | json }}}}{{{{ event.trans_id }}}}\"\n[batch]\nitem = {{ a = \"{{{{ now_ms }}}}\" }}\n"
    );
    let told = told(&rest);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("3: request.0: needs `event.trans_id` beside"), "{told:?}");
    assert!(told[1].contains("batch.item.a: at character 4 (`now_ms`): nothing is called `now_ms` here"), "{told:?}");
}

#[test]
fn a_key_that_every_account_has_cannot_be_declared_and_a_switch_has_to_be_a_key() {
    let end = format!("{ANSWER}[[request]]\nurl = \"/x\"\n");
    for key in
        ["reply", "call_limits", "\"limits.daily\"", "\"reply.topic\"", "validate", "\"validate.max_future\"", "map"]
    {
        let told = told(&format!("{end}[account.keys.{key}]\n"));
        let expected = format!("account.keys.{}: is a key that every account has", key.trim_matches('"'));
        assert!(told.len() == 1 && told[0].ends_with(&expected), "{key}: {told:?}");
    }
    assert_eq!(told(&format!("{end}[account.keys.\"validate.length\"]\n")), Vec::<String>::new());
    let unconfirmed = |switch: &str| told(&format!("{end}[[unconfirmed]]\nwhat = \"x\"\nswitch = \"{switch}\"\n"));
    for switch in ["", "secret", "token", "token.client_id", "map", "limits.rps"] {
        assert_eq!(unconfirmed(switch), Vec::<String>::new(), "{switch}");
    }
    for switch in ["secrets_of", "token.nobody", "Secret"] {
        let expected = "7: unconfirmed.0.switch: is no key of an account; leave it empty where none covers it";
        assert_eq!(unconfirmed(switch), [expected], "{switch}");
    }
}

#[test]
fn the_first_index_of_a_batch_is_a_number() {
    let rest = |base: &str| {
        format!(
            "[[request]]\nurl = \"/x\"\njson = {{ all = \"{{{{ items }}}}\" }}\n[batch]\nitem = {{ a = 1 }}\n{ANSWER}\
             [answer.items]\nat = \"body.errors\"\nindex_base = {base}\n"
        )
    };
    for fine in ["1", "\"0\"", "-1"] {
        assert_eq!(told(&rest(fine)), Vec::<String>::new(), "{fine}");
    }
    for wrong in ["\"one\"", "\"1.0\"", "true"] {
        let reason =
            "answer.items.index_base: has to be a whole number, or a template that makes one of a key of the account";
        assert_eq!(told(&rest(wrong)), [format!("10: {reason}")], "{wrong}");
    }
}

#[test]
fn the_rules_of_conversions_are_refused_in_a_file_that_takes_none() {
    let call = "[calls.find]\nreads_only = true\nrequest = { url = \"/x\" }\nresult = { a = \"{{ status }}\" }\n";
    assert_eq!(told_of(&format!("{ANSWER}{call}")), Vec::<String>::new());
    for (table, key) in [
        ("[require]\n\"args.x\" = \"true\"\n", "require"),
        ("[check]\n\"args.x\" = { when = \"true\", says = \"no\" }\n", "check"),
        ("[events]\npay = 1\n", "events"),
    ] {
        let told = told_of(&format!("{table}{ANSWER}{call}"));
        assert!(told.len() == 1 && told[0].starts_with(&format!("1: {key}: is about conversions, and")), "{told:?}");
    }
}

#[test]
fn a_path_is_what_a_url_can_hold() {
    let rest = |url: &str| format!("{ANSWER}[[request]]\nurl = \"{url}\"\n");
    for fine in ["/", "/a%20b?c=d&e", "/a//b", "/{{ event.trans_id }} "] {
        assert_eq!(told(&rest(fine)), Vec::<String>::new(), "{fine}");
    }
    for wrong in ["/a b", "/a#b", "/a\\tb"] {
        let reason = "4: request.0.url: holds what the path of a URL cannot hold, e.g. a space or #";
        assert_eq!(told(&rest(wrong)), [reason], "{wrong}");
    }
}

#[test]
fn the_request_for_tokens_has_nothing_that_only_conversions_have() {
    let rest = |line: &str| {
        format!(
            "{ANSWER}[[request]]\nurl = \"/{{{{ token.access }}}}\"\n[token]\naccess = \"body.a\"\n[token.request]\nurl = \"/t\"\n{line}"
        )
    };
    assert_eq!(told(&rest("method = \"PUT\"")), Vec::<String>::new());
    for (line, key) in [("when = \"true\"", "when"), ("events = { pay = 2 }", "events")] {
        let told = told(&rest(line));
        let reason = format!("9: token.request.{key}: is for conversions: here is one request, below base_url");
        assert_eq!(told.first(), Some(&reason), "{line}: {told:?}");
    }
    let told = told(&rest("callback = \"click.x\"\nhosts = [\"a.example.com\"]"));
    assert!(told.iter().any(|problem| problem.contains("token.request.callback: is for conversions")), "{told:?}");
}

#[test]
fn a_native_event_has_no_decimals_and_a_token_is_not_refreshed_at_once() {
    let rest = format!("{ANSWER}[[request]]\nurl = \"/x\"\nevents = {{ pay = 1.5 }}\n");
    assert_eq!(told(&rest), ["5: request.0.events.pay: has to be a whole number, or a text that says something"]);
    let rest = |ratio: &str| {
        format!(
            "{ANSWER}[[request]]\nurl = \"/{{{{ token.access }}}}\"\n[token]\naccess = \"body.a\"\nrefresh_ratio = {ratio}\n[token.request]\nurl = \"/t\"\n"
        )
    };
    for fine in ["0.5", "1", "\"0.75\"", "\"{{ account.secret }}\""] {
        assert_eq!(told(&rest(fine)), Vec::<String>::new(), "{fine}");
    }
    for wrong in ["0.49", "1.01", "\"soon\"", "\"NaN\""] {
        assert_eq!(told(&rest(wrong)), ["7: token.refresh_ratio: has to be a number from 0.5 to 1"], "{wrong}");
    }
}

#[test]
fn native_events_are_numbers_or_texts_and_not_both() {
    let rest = format!("{ANSWER}[[request]]\nurl = \"/x\"\nevents = {{ pay = 1, buy = \"BUY\" }}\n");
    assert_eq!(
        told(&rest),
        [
            "5: request.0.events: has numbers and texts, and `native` can only be one of both: write all of them in quotes"
        ]
    );
}
