//! The licences of datasets and weights, and how a user accepts them.

/// The licence of a published thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Licence {
    pub name: &'static str,
    /// The way to accept it, where nothing may be downloaded before.
    pub to_accept: Option<ToAccept>,
}

/// How a licence is accepted on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToAccept {
    /// The name that follows `--accept-licence`.
    pub name: &'static str,
    /// The web page with its text.
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
    /// A licence that need not be accepted before a download.
    pub const fn open(name: &'static str) -> Self {
        Self { name, to_accept: None }
    }

    /// The acceptance that is still needed, given the `accepted` names.
    pub fn open_question(&self, accepted: &[String]) -> Option<ToAccept> {
        self.to_accept.filter(|terms| !accepted.iter().any(|name| name == terms.name))
    }
}
