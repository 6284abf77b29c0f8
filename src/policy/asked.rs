//! What a box's systemd asks for on a login socket: it is in the address of its end (systemd.exec(5), LoadCredential=).
//! Anybody may bind any such address: who asks is another question.

use super::login::Need;
use crate::quadlet::names;
use crate::spec::BoxName;
use crate::wire;

/// `\0RANDOM/unit/devbox-NAME.service/ID`.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    pub name: BoxName,
    pub id: Id,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Id {
    Login,
    Key(Need),
}

impl Id {
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            wire::LOGIN => Self::Login,
            wire::KEY => Self::Key(Need::Start),
            wire::KEY_ANEW => Self::Key(Need::Lost),
            wire::KEY_ROTATED => Self::Key(Need::Rotate),
            _ => return None,
        })
    }
}

/// `address`: the abstract one, without the zero byte before it.
pub fn asked(address: &[u8]) -> Option<Asked> {
    let text = std::str::from_utf8(address).ok()?;
    let mut parts = text.split('/').skip(1);
    let ("unit", unit, id, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    Some(Asked { name: names::box_of_service(unit)?, id: Id::of_word(id)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_in_the_address() {
        let of = |text: &str| asked(text.as_bytes()).map(|a| (a.name.to_string(), a.id));
        let abc = |id| Some(("abc".to_owned(), id));
        assert_eq!(of("8f3/unit/devbox-abc.service/tailnet-key"), abc(Id::Key(Need::Start)));
        assert_eq!(of("8f3/unit/devbox-abc.service/tailnet-login"), abc(Id::Login));
        assert_eq!(of("/unit/devbox-abc.service/tailnet-key-anew"), abc(Id::Key(Need::Lost)));
        for odd in [
            "",
            "unit/devbox-abc.service/tailnet-key",
            "8f3/unit/devbox-abc.service/other",
            "8f3/unit/devbox-abc.service/tailnet-key/more",
            "8f3/unit/devbox-ABC.service/tailnet-key",
            "8f3/unit/devbox-a--b.service/tailnet-key",
            "8f3/unit/other.service/tailnet-key",
            "8f3/unit/devbox-abc.service",
            "8f3/user/devbox-abc.service/tailnet-key",
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
        assert_eq!(asked(b"\xff/unit/devbox-abc.service/tailnet-key"), None);
    }
}
