//! `sweep fetch`: datasets and weights from the web; the only verb that uses the network.

mod show;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::fault::{Exit, OrExit, fault};
use super::grid::grid;
use super::{Context, printer, words};
use crate::experiment;
use crate::fetch::dataset::catalog::{ROWS, Recipe, Row};
use crate::fetch::dataset::{self, Job, State};
use crate::fetch::download::{self, Downloader, Settings, partial_bytes};
use crate::fetch::weights::{self, Access, Release, releases};
use crate::model::WeightsConfig;
use crate::weights::locate;
use crate::weights::locate::caches;
use show::Show;

/// Download datasets and weights, or list what there is
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to get, such as `voc` or `dinov2_vits14_reg`; all is listed if left out
    pub names: Vec<String>,
    /// Put it here, not into the first data or weight folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// An address that has the files by their names, instead of the official ones
    #[arg(long, value_name = "URL", value_parser = address)]
    pub mirror: Option<String>,
    /// The address of one weight file, as Meta sends it by e-mail
    #[arg(long, value_name = "URL", value_parser = address, conflicts_with = "mirror")]
    pub url: Option<String>,
}

/// What a name stands for.
enum Thing {
    Data(&'static Row),
    Weights(Release),
}

/// Where things go, and how they get there.
struct Setting<'a> {
    args: &'a Args,
    data_dirs: Vec<PathBuf>,
    weight_dirs: Vec<PathBuf>,
    downloader: Downloader,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let machine = context.machine()?;
    let dirs = |of_machine: &Vec<PathBuf>| match &args.dir {
        Some(dir) => vec![dir.clone()],
        None => of_machine.clone(),
    };
    let (data_dirs, weight_dirs) = (dirs(&machine.data_dirs), dirs(&machine.weight_dirs));
    if args.names.is_empty() {
        list(&data_dirs, &weight_dirs);
        return Ok(Exit::Done);
    }
    let things = things(args)?;
    let root_certificates = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let settings =
        Settings { root_certificates: root_certificates.map(PathBuf::from), ..Settings::default() };
    let downloader = Downloader::new(settings)?;
    let setting = Setting { args, data_dirs, weight_dirs, downloader };
    let mut worst = Exit::Done;
    for (name, thing) in args.names.iter().zip(&things) {
        let mut show = Show::new(name, context.globals.quiet);
        let got = match thing {
            Thing::Data(row) => data(row, &setting, &mut show),
            Thing::Weights(release) => weights(release, &setting, &mut show),
        };
        show.finish();
        match got {
            Ok(path) => printer::data(&format!("{name}: `{}`\n", path.display())),
            Err(error) => {
                let exit = super::report(&error.context(name.clone()));
                worst = if worst == Exit::Done { exit } else { worst };
            }
        }
    }
    Ok(worst)
}

/// The things that the names stand for; all unknown ones are named at once.
fn things(args: &Args) -> anyhow::Result<Vec<Thing>> {
    let mut things = Vec::new();
    let mut unknown = Vec::new();
    for name in &args.names {
        let data = dataset::find(name).map(Thing::Data);
        let thing = data.or_else(|| weights::find(name).map(Thing::Weights));
        if thing.is_none() {
            let nearest = experiment::nearest(name, names());
            let hint = nearest.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            unknown.push(format!("`{name}`{hint}"));
        }
        things.extend(thing);
    }
    if !unknown.is_empty() {
        let words = format!(
            "nothing to fetch is called {}; `sweep fetch` lists what there is",
            unknown.join(", ")
        );
        return Err(fault(Exit::Usage, words));
    }
    if args.url.is_some() && !matches!(things[..], [Thing::Weights(_)]) {
        return Err(fault(Exit::Usage, "`--url` is for one weight file"));
    }
    Ok(things)
}

fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name).chain(releases().map(|release| release.variant.name))
}

fn data(row: &Row, setting: &Setting<'_>, show: &mut Show) -> anyhow::Result<PathBuf> {
    let (mirror, downloader) = (setting.args.mirror.as_deref(), &setting.downloader);
    let job = Job { row, data_dirs: &setting.data_dirs, mirror, downloader };
    match job.run(&mut |news| show.data(&news)) {
        Ok((target, is_new)) => {
            show.note(if is_new { "done" } else { "is there already" });
            Ok(target)
        }
        Err(error) => {
            let exit = exit_of_data(&error);
            let advice = match &error {
                dataset::Error::Download(error) if is_of_network(error) => {
                    setting.data_dirs.first().map(|dir| by_hand(row, dir))
                }
                _ => None,
            };
            Err(with_advice(error, advice)).or_exit(exit)
        }
    }
}

fn weights(release: &Release, setting: &Setting<'_>, show: &mut Show) -> anyhow::Result<PathBuf> {
    let args = setting.args;
    let dir = setting.weight_dirs.first().context("`weight_dirs` is empty: use `--dir`")?;
    let target = dir.join(release.file_name);
    if let Some(found) = there(release, &setting.weight_dirs, args.dir.is_none()) {
        let is_ours = setting.weight_dirs.iter().any(|dir| found == dir.join(release.file_name));
        // Caches of other programs are read only, and other formats have other checksums.
        if !is_ours {
            show.note("is there already");
            return Ok(found);
        }
        let file = release.remote(String::new());
        let fetched = setting.downloader.fetch(&file, &found, &mut |news| show.weights(&news));
        let fetched = fetched.map_err(|error| (exit_of(&error), error));
        let fetched = fetched.or_else(|(exit, error)| Err(error).or_exit(exit))?;
        show.proof(&fetched.proof);
        return Ok(found);
    }
    let url = match (&args.url, &args.mirror, &release.access) {
        (None, Some(base), _) => format!("{}/{}", base.trim_end_matches('/'), release.file_name),
        (Some(url), _, _) | (None, None, Access::Open { url }) => url.clone(),
        (None, None, Access::Gated { page }) => {
            return Err(fault(Exit::Environment, gated(release, page, dir)));
        }
    };
    let file = release.remote(url.clone());
    match setting.downloader.fetch(&file, &target, &mut |news| show.weights(&news)) {
        Ok(fetched) => {
            show.proof(&fetched.proof);
            Ok(target)
        }
        Err(error) => {
            let exit = exit_of(&error);
            let advice = (is_of_network(&error) && args.url.is_none()).then(|| {
                format!(
                    "by hand: get {url} on another machine and put it to `{}`",
                    target.display()
                )
            });
            Err(with_advice(error, advice)).or_exit(exit)
        }
    }
}

/// Where the weights lie already.
fn there(release: &Release, weight_dirs: &[PathBuf], with_caches: bool) -> Option<PathBuf> {
    let caches = if with_caches { caches(|name| std::env::var(name).ok()) } else { vec![] };
    let folders = (weight_dirs, caches.as_slice());
    // Not found is the other answer.
    locate(release.variant, &WeightsConfig::Pretrained {}, folders).ok().flatten()
}

fn gated(release: &Release, page: &str, dir: &Path) -> String {
    let name = release.variant.name;
    let hub = release.variant.folders.first().map_or_else(String::new, |folder| {
        format!(
            "\nor, from https://huggingface.co/facebook/{folder}, where the licence can be accepted \
             too:\n    {}",
            dir.join(folder).join("model.safetensors").display()
        )
    });
    format!(
        "gated: accept the {} on {page}; Meta then sends links by e-mail. Then\n    \
         sweep fetch {name} --url 'LINK'\n\
         or put the file (its sha256 begins with {}) here:\n    {}{hub}",
        release.licence,
        release.variant.sha256,
        dir.join(release.file_name).display(),
    )
}

fn by_hand(row: &Row, dir: &Path) -> String {
    let files: Vec<_> = row.files.iter().map(|file| file.urls[0]).collect();
    let to = match row.recipe {
        Recipe::Files => dir.join(row.target),
        _ => dir.to_owned(),
    };
    format!(
        "by hand: get {} on another machine, put it into `{}`, and run `sweep fetch {}` again",
        files.join(" "),
        to.display(),
        row.name
    )
}

fn with_advice(
    error: impl std::error::Error + Send + Sync + 'static,
    advice: Option<String>,
) -> anyhow::Error {
    match advice {
        None => error.into(),
        Some(advice) => anyhow::anyhow!("{:#}\n{advice}", anyhow::Error::from(error)),
    }
}

fn is_of_network(error: &download::Error) -> bool {
    use download::Error as E;
    matches!(
        error,
        E::Unreachable { .. }
            | E::Broken { .. }
            | E::Refused { .. }
            | E::BadAddress { .. }
            | E::Page { .. }
            | E::NoLength { .. }
    )
}

fn exit_of(error: &download::Error) -> Exit {
    if error.is_failed_check() { Exit::SomeFailed } else { Exit::Environment }
}

fn exit_of_data(error: &dataset::Error) -> Exit {
    use crate::fetch::archive::Error as Archive;
    match error {
        dataset::Error::Download(error) => exit_of(error),
        dataset::Error::Archive(Archive::Io(_)) => Exit::Environment,
        dataset::Error::Archive(_)
        | dataset::Error::NotInside { .. }
        | dataset::Error::Mask { .. }
        | dataset::Error::Count { .. } => Exit::SomeFailed,
        _ => Exit::Environment,
    }
}

fn list(data_dirs: &[PathBuf], weight_dirs: &[PathBuf]) {
    let head = ["name", "size", "licence", "state"].map(str::to_owned);
    let data = ROWS.iter().map(|row| {
        let gated = matches!(row.recipe, Recipe::Gated { .. });
        let bytes = row.files.iter().map(|file| file.bytes.bytes()).sum();
        let state = match dataset::state(row, data_dirs) {
            State::There(path) => format!("there: {}", path.display()),
            State::Partial(bytes) => format!("partial: {}", words::size(bytes)),
            State::Missing => missing(gated),
        };
        let size = if bytes == 0 { "?".to_owned() } else { words::size(bytes) };
        vec![row.name.to_owned(), size, row.licence.to_owned(), state]
    });
    let weights = releases().map(|release| {
        let partial =
            weight_dirs.first().map_or(0, |dir| partial_bytes(&dir.join(release.file_name)));
        let state = match (there(&release, weight_dirs, true), partial) {
            (Some(path), _) => format!("there: {}", path.display()),
            (None, 0) => missing(matches!(release.access, Access::Gated { .. })),
            (None, bytes) => format!("partial: {}", words::size(bytes)),
        };
        let size = words::size(release.size.bytes());
        vec![release.variant.name.to_owned(), size, release.licence.to_owned(), state]
    });
    printer::data(&format!("{}\n", grid(&head, data.chain(weights))));
    let first = |dirs: &[PathBuf]| dirs.first().map_or("?".into(), |dir| dir.display().to_string());
    printer::aside(&format_args!(
        "`sweep fetch NAME…` puts data into `{}` and weights into `{}`; of what is gated it says \
         how to get it",
        first(data_dirs),
        first(weight_dirs)
    ));
}

fn missing(is_gated: bool) -> String {
    if is_gated { "missing (gated)".to_owned() } else { "missing".to_owned() }
}

fn address(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(text.to_owned());
    }
    Err("an address begins with `https://` or `http://`".to_owned())
}
