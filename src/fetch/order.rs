//! Builds the command that fetches what an experiment lacks, with its download size and licences.
//!
//! `sweep run` and `sweep plan` call [`missing_command`] with the names that they found missing,
//! and print it as one line.

use crate::fetch::licence::Licence;
use crate::fetch::thing::{self, Thing};

/// A command to copy, and what the user should know before running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The command, such as `sweep fetch voc dinov2_vits14_reg`.
    pub command: String,
    /// Approximate number of bytes to download.
    pub bytes: u64,
    /// The licences of all things, each once.
    pub licences: Vec<Licence>,
    /// Names of things for which the command only prints the steps by hand.
    pub by_hand: Vec<&'static str>,
}

/// The command that fetches the things of these names; `None` where there are none. Names that
/// `sweep fetch` does not know are skipped.
pub fn missing_command(names: &[&str]) -> Option<Order> {
    let things: Vec<Thing> = names.iter().filter_map(|name| thing::find(name)).collect();
    let mut words = vec!["sweep", "fetch"];
    let mut licences: Vec<Licence> = Vec::new();
    for thing in &things {
        words.push(thing.name());
        if !licences.contains(&thing.licence()) {
            licences.push(thing.licence());
        }
    }
    for terms in licences.iter().filter_map(|licence| licence.to_accept) {
        words.extend(["--accept-licence", terms.name]);
    }
    let by_hand = things.iter().filter(|thing| thing.is_by_hand()).map(Thing::name).collect();
    let bytes = things.iter().filter(|thing| !thing.is_by_hand()).map(Thing::bytes).sum();
    (!things.is_empty()).then_some(Order { command: words.join(" "), bytes, licences, by_hand })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_all_things_their_size_and_each_licence_once() {
        assert_eq!(missing_command(&[]), None);
        assert_eq!(missing_command(&["mine"]), None);
        let order = missing_command(&["voc", "dinov2_vits14", "dinov2_vitb14"]).unwrap();
        assert_eq!(order.command, "sweep fetch voc dinov2_vits14 dinov2_vitb14");
        assert_eq!(order.bytes, 1_999_639_040 + 88_283_115 + 346_378_731);
        let licences: Vec<_> = order.licences.iter().map(|licence| licence.name).collect();
        assert_eq!(licences, ["VOC's own terms (Flickr photos)", "Apache-2.0"]);
    }

    #[test]
    fn what_has_to_be_accepted_is_in_the_command_and_what_is_by_hand_is_told_apart() {
        let order = missing_command(&["acdc", "dinov3_vits16", "dinov3_vitb16"]).unwrap();
        let expect = "sweep fetch acdc dinov3_vits16 dinov3_vitb16 --accept-licence dinov3";
        assert_eq!(order.command, expect);
        assert_eq!(order.by_hand, ["acdc"]);
        assert_eq!(order.licences.len(), 2);
    }
}
