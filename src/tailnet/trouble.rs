//! What went wrong with a provider: at which step, and who can do what about it.

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doing {
    #[error("reading the provider's settings")]
    Settings,
    #[error("reading the provider's token")]
    ReadingToken,
    #[error("reaching the provider")]
    Reaching,
    #[error("logging in to the provider")]
    LoggingIn,
    #[error("making a key")]
    Making,
    #[error("reading the key")]
    ReadingKey,
    #[error("listing devices")]
    Listing,
    #[error("removing a device")]
    Removing,
}

/// Who can do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// It may go by itself.
    Wait,
    /// A command or a place to look at, for the administrator.
    Administrator(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Trouble {
    pub doing: Doing,
    /// Already fit to be shown.
    pub why: String,
    pub mend: Mend,
}

impl Trouble {
    pub(super) fn new(doing: Doing, why: String) -> Self {
        Self { doing, why, mend: Mend::Wait }
    }

    pub(super) fn settings(why: &str) -> Self {
        let mend = Mend::Administrator("set it where [tailnet] is; docs/tailnet.md has an example each".to_owned());
        Self::new(Doing::Settings, why.to_owned()).mend(mend)
    }

    #[must_use]
    pub(super) fn mend(mut self, mend: Mend) -> Self {
        self.mend = mend;
        self
    }

    /// For the person at the terminal.
    pub fn hint(&self) -> String {
        match &self.mend {
            Mend::Wait => "it is tried again at the next start; `devbox-ctl restart NAME` tries now".to_owned(),
            Mend::Administrator(what) => format!("an administrator can mend it: {what}"),
        }
    }
}
