//! The terms under which datasets and weights are published, and what accepts them.

/// The licence of a published thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Licence {
    pub name: &'static str,
    /// Where nothing may be downloaded before a person has accepted it.
    pub to_accept: Option<ToAccept>,
}

/// How a licence is accepted on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToAccept {
    /// What follows `--accept-licence`.
    pub name: &'static str,
    /// The page to read it on.
    pub page: &'static str,
}

/// Meta's licence of DINOv3.
pub const DINOV3: Licence = Licence {
    name: "DINOv3 License",
    to_accept: Some(ToAccept {
        name: "dinov3",
        page: "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    }),
};

impl Licence {
    /// A licence that asks for nothing before a download.
    pub const fn open(name: &'static str) -> Self {
        Self { name, to_accept: None }
    }

    /// What is still to be accepted, where `accepted` are the names that were.
    pub fn open_question(&self, accepted: &[String]) -> Option<ToAccept> {
        self.to_accept.filter(|terms| !accepted.iter().any(|name| name == terms.name))
    }
}
