//! `sweep fetch`: downloads datasets and weights. Only this verb and `run --fetch`, which calls
//! `get_all`, use the network.

mod show;

use std::path::{Path, PathBuf};

use super::fault::{Exit, fault};
use super::grid::grid;
use super::{Context, printer, words};
use crate::experiment::{self, Machine};
use crate::fetch::download::{Downloader, Settings};
use crate::fetch::thing::{How, licences_to_accept};
use crate::fetch::weights::Address;
use crate::fetch::{self, News, Order, Places, Setting, State, Thing, things};
use crate::resolve::Missing;
use crate::weights::locate::caches;
use show::Show;

/// Download datasets and weights, or list what there is
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names to download, such as `voc` or `dinov2_vits14_reg`; if left out, all are listed
    pub names: Vec<String>,
    /// Folder to download into, instead of the first data or weight folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub terms: Terms,
    /// Address of one weight file, as Meta sends it by e-mail
    #[arg(long, value_name = "URL", value_parser = address, conflicts_with = "mirror")]
    pub url: Option<String>,
}

/// Where published things come from, and which terms are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Terms {
    /// Accept a licence that must be accepted before a download, such as `dinov3`
    #[arg(long, value_name = "NAME", value_parser = licence)]
    pub accept_licence: Vec<String>,
    /// Address of a mirror that has the files by name, instead of the official addresses
    #[arg(long, value_name = "URL", value_parser = address)]
    pub mirror: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let places = places(args.dir.as_deref(), context.machine()?);
    if args.names.is_empty() {
        list(&places);
        return Ok(Exit::Done);
    }
    let things = known(&args.names)?;
    if args.url.is_some() && !matches!(things[..], [Thing::Weights(_) | Thing::Upsampler(_)]) {
        return Err(fault(Exit::Usage, "`--url` needs the name of exactly one weight file"));
    }
    let mut setting = setting(&args.terms, places)?;
    if let Some(url) = &args.url {
        setting.address = Address::Url(url.clone());
    }
    Ok(get_all(&things, &setting, context, |name, path| {
        printer::data(&format!("{name}: `{}`\n", path.display()));
    }))
}

/// Gets things one after the other and tells where each is; prints each failure and returns the
/// exit of the first.
fn get_all(
    things: &[Thing],
    setting: &Setting,
    context: &Context,
    place: impl Fn(&str, &Path),
) -> Exit {
    let mut worst = Exit::Done;
    for thing in things {
        let name = thing.name();
        let mut show = Show::new(name, context.globals.quiet);
        let got = setting.get(thing, &mut |news| match news {
            News::Data(news) => show.data(&news),
            News::Weights(news) => show.weights(&news),
        });
        if let Ok(got) = &got {
            match &got.how {
                How::WasThere => show.note("is there already"),
                How::Made => show.note("done"),
                How::Checked(proof) => show.proof(proof),
            }
        }
        show.finish();
        match got {
            Ok(got) => place(name, &got.path),
            Err(error) => {
                let is_wrong = error.is_failed_check();
                let exit = if is_wrong { Exit::SomeFailed } else { Exit::Environment };
                super::report(&fault(exit, format_args!("{name}: {error}")));
                worst = if worst == Exit::Done { exit } else { worst };
            }
        }
    }
    worst
}

/// Gets what an experiment lacks and `sweep fetch` knows; returns an error if a download failed.
pub(super) fn get_missing(
    missing: &Missing,
    terms: &Terms,
    (machine, context): (&Machine, &Context),
) -> anyhow::Result<()> {
    let names = missing.fetchable();
    let things: Vec<Thing> = names.iter().filter_map(|name| fetch::find(name)).collect();
    if things.is_empty() {
        return Ok(());
    }
    let setting = setting(terms, places(None, machine))?;
    let exit = get_all(&things, &setting, context, |name, path| {
        printer::aside(&format_args!("{name}: `{}`", path.display()));
    });
    match exit {
        Exit::Done => Ok(()),
        exit => Err(fault(exit, "not all that the experiment needs could be fetched")),
    }
}

/// An error with all that cells lack; its last line is the command that gets it, where there is
/// one.
pub(super) fn lacking(missing: &Missing) -> anyhow::Error {
    let order = fetch::missing_command(&missing.fetchable());
    let line = order.map_or_else(String::new, |order| format!("\n{}", order_line(&order)));
    fault(Exit::Environment, format_args!("{missing}{line}"))
}

/// `to get it: sweep fetch voc dinov2_vits14_reg (1.9 GiB; licences: …)`.
fn order_line(order: &Order) -> String {
    let licences: Vec<_> = order
        .licences
        .iter()
        .map(|licence| match licence.to_accept {
            Some(terms) => format!("{}, to be read first: {}", licence.name, terms.page),
            None => licence.name.to_owned(),
        })
        .collect();
    let noun = if licences.len() == 1 { "licence" } else { "licences" };
    let mut facts = Vec::new();
    if order.bytes > 0 {
        facts.push(words::size(order.bytes));
    }
    facts.push(format!("{noun}: {}", licences.join(", ")));
    if !order.by_hand.is_empty() {
        facts.push(format!("for {} it prints the steps", order.by_hand.join(" and ")));
    }
    format!("to get it: {} ({})", order.command, facts.join("; "))
}

/// The things that the names stand for; all unknown ones are named at once.
fn known(names: &[String]) -> anyhow::Result<Vec<Thing>> {
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for name in names {
        let thing = fetch::find(name);
        if thing.is_none() {
            let nearest = experiment::nearest(name, things().map(|thing| thing.name()));
            let hint = nearest.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            unknown.push(format!("`{name}`{hint}"));
        }
        found.extend(thing);
    }
    if unknown.is_empty() {
        return Ok(found);
    }
    let words = format!("unknown: {}; `sweep fetch` lists all names", unknown.join(", "));
    Err(fault(Exit::Usage, words))
}

fn places(dir: Option<&Path>, machine: &Machine) -> Places {
    match dir {
        Some(dir) => {
            let dirs = vec![dir.to_owned()];
            Places { data_dirs: dirs.clone(), weight_dirs: dirs, caches: vec![] }
        }
        None => Places {
            data_dirs: machine.data_dirs.clone(),
            weight_dirs: machine.weight_dirs.clone(),
            caches: caches(|name| std::env::var(name).ok()),
        },
    }
}

fn setting(terms: &Terms, places: Places) -> anyhow::Result<Setting> {
    let certificates = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let settings =
        Settings { root_certificates: certificates.map(PathBuf::from), ..Settings::default() };
    let address = match &terms.mirror {
        Some(base) => Address::Mirror(base.clone()),
        None => Address::Official,
    };
    let (accepted, downloader) = (terms.accept_licence.clone(), Downloader::new(settings)?);
    Ok(Setting { places, address, accepted, downloader })
}

fn list(places: &Places) {
    let head = ["name", "size", "licence", "state"].map(str::to_owned);
    let rows = things().map(|thing| {
        let state = thing.state(places);
        let size = if thing.bytes() == 0 { "?".to_owned() } else { words::size(thing.bytes()) };
        let licence = thing.licence().name.to_owned();
        vec![thing.name().to_owned(), size, licence, state_words(&thing, &state)]
    });
    printer::data(&format!("{}\n", grid(&head, rows)));
    let first = |dirs: &[PathBuf]| dirs.first().map_or("?".into(), |dir| dir.display().to_string());
    printer::aside(&format_args!(
        "`sweep fetch NAME…` puts data into `{}` and weights into `{}`; for a gated name it prints \
         the steps",
        first(&places.data_dirs),
        first(&places.weight_dirs)
    ));
}

/// `there: weights/x.pth`, `missing (gated)`, `missing (timm's copy; --accept-licence dinov3)`.
fn state_words(thing: &Thing, state: &State) -> String {
    let asks = thing.licence().to_accept.map(|terms| format!("--accept-licence {}", terms.name));
    let gated = thing.is_by_hand().then(|| "gated".to_owned());
    let (text, notes) = match state {
        State::There(path) => {
            let remark = thing.remark(Some(path)).map(str::to_owned);
            (format!("there: {}", path.display()), [remark, None])
        }
        State::Partial(bytes) => (format!("partial: {}", words::size(*bytes)), [None, None]),
        State::Missing if gated.is_some() => ("missing".to_owned(), [gated, None]),
        State::Missing => ("missing".to_owned(), [thing.remark(None).map(str::to_owned), asks]),
    };
    let notes: Vec<_> = notes.into_iter().flatten().collect();
    if notes.is_empty() { text } else { format!("{text} ({})", notes.join("; ")) }
}

fn address(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(text.to_owned());
    }
    Err("an address begins with `https://` or `http://`".to_owned())
}

/// Parses the name of a licence that must be accepted before a download.
fn licence(text: &str) -> Result<String, String> {
    let names: Vec<_> = licences_to_accept().iter().map(|terms| terms.name).collect();
    if names.contains(&text) {
        return Ok(text.to_owned());
    }
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    Err(format!("only {} can be accepted", names.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_copy_has_size_and_licences() {
        let line = |names: &[&str]| order_line(&fetch::missing_command(names).unwrap());
        insta::assert_snapshot!(line(&["voc", "dinov2_vits14"]), @"to get it: sweep fetch voc dinov2_vits14 (1.9 GiB; licences: VOC's own terms (Flickr photos), Apache-2.0)");
        insta::assert_snapshot!(line(&["dinov3_vits16"]), @"to get it: sweep fetch dinov3_vits16 --accept-licence dinov3 (83.4 MiB; licence: DINOv3 License, to be read first: https://ai.meta.com/resources/models-and-libraries/dinov3-license/)");
        insta::assert_snapshot!(line(&["acdc"]), @"to get it: sweep fetch acdc (licence: ACDC's own terms: accept them on its site; for acdc it prints the steps)");
        insta::assert_snapshot!(line(&["frost", "acdc"]), @"to get it: sweep fetch frost acdc (2.0 MiB; licences: Apache-2.0 (imagecorruptions), ACDC's own terms: accept them on its site; for acdc it prints the steps)");
    }
}
