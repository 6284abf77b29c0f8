//! What a box says of itself in STATUS= (image/libexec/tailnet-up). Anybody in the box may say anything there: what is
//! taken of it is one of these, and nothing of it is believed about anybody else's.

use std::net::IpAddr;

use crate::spec::BoxName;
use crate::wire::OnTailnet;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is on the tailnet, by this name and at this address.
    On(BoxName, IpAddr),
    /// It waits for a key: it got none, or one that the control server did not take.
    WantsKey,
    /// It has what it needs and goes on trying.
    Tries,
    /// Nothing about a tailnet.
    Nothing,
}

pub fn said(status: &str) -> Said {
    if let Some(rest) = status.strip_prefix("ready, on the tailnet as ") {
        return on(rest).unwrap_or(Said::Nothing);
    }
    match status.strip_prefix("ready; not on the tailnet") {
        Some(": it has no key" | ": its key is not accepted") => Said::WantsKey,
        Some(_) => Said::Tries,
        None => Said::Nothing,
    }
}

fn on(rest: &str) -> Option<Said> {
    let (hostname, rest) = rest.split_once(" (")?;
    let (address, _) = rest.split_once(')')?;
    Some(Said::On(hostname.parse().ok()?, address.parse().ok()?))
}

/// What is known of a box's device, with what the box says itself: a provider without a list of devices knows only that
/// it gave a key, and one with a list does not know that the box has lost its login.
pub fn with_own_word(mut stands: OnTailnet, said: &Said) -> OnTailnet {
    let is_off = |mut stands: OnTailnet, why: &str| {
        "absent".clone_into(&mut stands.state);
        if stands.trouble.is_empty() {
            why.clone_into(&mut stands.trouble);
        }
        stands
    };
    match (stands.state.as_str(), said) {
        ("on" | "given", Said::WantsKey) => is_off(stands, "it waits for a key that the control server accepts"),
        ("given", Said::Tries) => is_off(stands, "the control server does not answer it"),
        ("given", Said::On(hostname, address)) => {
            stands.hostname = hostname.to_string();
            stands.addresses = vec![address.to_string()];
            stands
        }
        _ => stands,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_may_say_where_it_is_and_nothing_else() {
        let of = |text| match said(text) {
            Said::On(name, address) => format!("{name} {address}"),
            other => format!("{other:?}"),
        };
        assert_eq!(of("ready, on the tailnet as abc (100.64.0.3)"), "abc 100.64.0.3");
        let renamed = "ready, on the tailnet as abc-1 (fd7a:115c::1): the name abc was taken there";
        assert_eq!(of(renamed), "abc-1 fd7a:115c::1");
        assert_eq!(of("ready; not on the tailnet: it has no key"), "WantsKey");
        assert_eq!(of("ready; not on the tailnet: its key is not accepted"), "WantsKey");
        assert_eq!(of("ready; not on the tailnet yet"), "Tries");
        for other in [
            "",
            "ready",
            "ready, on the tailnet as abc",
            "ready, on the tailnet as a\u{1b}[2J (100.64.0.3)",
            "ready, on the tailnet as abc (\u{1b}[2J)",
            "ready, on the tailnet as abc (100.64.0.3",
        ] {
            assert_eq!(said(other), Said::Nothing, "{other:?}");
        }
    }

    #[test]
    fn what_a_box_says_completes_what_is_known() {
        let known = |state: &str| OnTailnet {
            state: state.to_owned(),
            hostname: "abc".to_owned(),
            addresses: Vec::new(),
            trouble: String::new(),
            hint: String::new(),
        };
        let on = said("ready, on the tailnet as abc (100.64.0.3)");
        assert_eq!(with_own_word(known("given"), &on).addresses, ["100.64.0.3"]);
        for state in ["on", "given"] {
            let stands = with_own_word(known(state), &Said::WantsKey);
            assert_eq!((stands.state.as_str(), stands.trouble.is_empty()), ("absent", false));
        }
        // What the provider shows is not the box's to say.
        for state in ["absent", "expired", "unknown", "none", "on"] {
            assert_eq!(with_own_word(known(state), &on), known(state));
        }
    }
}
