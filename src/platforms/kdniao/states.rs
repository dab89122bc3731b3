//! What 快递鸟's numbers for the state of a parcel mean: `State` of every query, and `StateEx` and `Action` of the paid
//! ones (增值版). Sources: PUBLIC section 5 and the state tables that 快递鸟 publishes for its paid queries.

/// Code and name; a code that begins with the digit of another one is a case of it: 202 is in transit (2).
const STATES: [(&str, &str); 41] = [
    ("0", "none"),
    ("1", "picked_up"),
    ("10", "awaiting_pickup"),
    ("2", "in_transit"),
    ("201", "arrived_in_city"),
    ("202", "in_delivery"),
    ("204", "at_transfer_center"),
    ("205", "at_delivery_branch"),
    ("206", "left_origin_branch"),
    ("211", "in_locker"),
    ("3", "signed"),
    ("301", "signed_by_recipient"),
    ("302", "signed_after_problem"),
    ("304", "signed_by_other"),
    ("311", "signed_at_locker"),
    ("4", "problem"),
    ("401", "no_information"),
    ("402", "signature_overdue"),
    ("403", "update_overdue"),
    ("404", "rejected"),
    ("405", "delivery_failed"),
    ("406", "return_signed"),
    ("407", "return_not_signed"),
    ("412", "locker_overdue"),
    ("413", "intercepted"),
    ("414", "damaged"),
    ("415", "cancelled"),
    ("416", "unreachable"),
    ("417", "delayed"),
    ("418", "taken_from_locker"),
    ("419", "redelivery"),
    ("420", "address_incomplete"),
    ("421", "phone_wrong"),
    ("422", "missorted"),
    ("423", "out_of_area"),
    ("5", "forwarded"),
    ("6", "customs"),
    ("601", "customs_waiting"),
    ("602", "customs_processing"),
    ("603", "customs_cleared"),
    ("604", "customs_problem"),
];

/// The name of a state; `None`: no table lists it.
pub(super) fn name(code: &str) -> Option<&'static str> {
    STATES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_state_that_the_sources_name_has_a_name_of_its_own() {
        // PUBLIC section 5.
        for (code, expected) in
            [("0", "none"), ("1", "picked_up"), ("2", "in_transit"), ("3", "signed"), ("4", "problem")]
        {
            assert_eq!(name(code), Some(expected));
        }
        for code in
            ["201", "202", "211", "301", "302", "304", "311", "401", "402", "403", "404", "405", "406", "407", "412"]
        {
            assert!(name(code).is_some(), "{code}");
        }
        let names: BTreeSet<_> = STATES.iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), STATES.len());
        assert!(["", "7", "00", "2020", " 1"].iter().all(|code| name(code).is_none()));
    }
}
