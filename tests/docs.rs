//! What of the docs is made from the program, and that the links of all pages lead somewhere.
//!
//! `docs/experiment-keys.md` and `docs/commands.md` are committed as they are made here; after a
//! change, `BLESS=1 cargo test --test docs` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use dino_sweep::{cli, experiment::keys};

const MADE: &str =
    "<!-- Made from the program by `BLESS=1 cargo test --test docs`; do not edit. -->";

#[test]
fn the_keys_are_those_of_the_program() {
    let head = format!(
        "# Keys of the experiment file\n\n{MADE}\n\n\
         Each key may also be set by `--set KEY=VALUE`. Ids are how results are found again: runs and \
         scores that differ in a part of their ids are different ones. `sweep keys NAME` explains one \
         key in the terminal.\n\n"
    );
    committed("docs/experiment-keys.md", &(head + &keys::reference()));
}

#[test]
fn the_commands_are_those_of_the_program() {
    committed("docs/commands.md", &commands(cli::command()));
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let pages: BTreeMap<PathBuf, String> =
        pages().into_iter().map(|path| (path.clone(), read(&path))).collect();
    let mut found = Vec::new();
    let mut n_links = 0;
    for (page, text) in &pages {
        for link in links(text).into_iter().filter(|link| is_relative(link)) {
            n_links += 1;
            let wrong = dangling(page, &link, &pages);
            found.extend(wrong.map(|why| format!("{}: `{link}`: {why}", page.display())));
        }
    }
    assert!(n_links > 10, "{n_links}");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_summary_lists_every_page_once() {
    let mut listed = links(&read(Path::new("docs/SUMMARY.md")));
    let mut there: Vec<_> = pages()
        .iter()
        .filter_map(|page| Some(page.strip_prefix("docs").ok()?.to_str()?.to_owned()))
        .filter(|name| name != "SUMMARY.md")
        .collect();
    listed.sort();
    there.sort();
    assert_eq!(listed, there, "docs/SUMMARY.md against the files of docs");
}

#[test]
fn links_and_headings_are_found() {
    let text = "# A `b`: c_d!\n[x](a.md#b) and `[no](code)` ![y](<z.png>)\n## Two\n## Two\n\
                ```\n# no heading\n[no](fence)\n```\n[r]: r.md\n[t](u.md \"title\")\n#no\n";
    assert_eq!(links(text), ["a.md#b", "z.png", "r.md", "u.md"]);
    let anchors: Vec<_> = anchors(text).into_iter().collect();
    assert_eq!(anchors, ["a-b-c_d", "two", "two-1"]);
    assert!(!is_relative("https://x.org/a") && !is_relative("mailto:a@b") && is_relative("#a"));
    let pages = BTreeMap::from([(PathBuf::from("README.md"), text.to_owned())]);
    let dangling = |link| dangling(Path::new("README.md"), link, &pages).is_some();
    assert!(!dangling("#two") && dangling("#three") && !dangling("README.md#two-1"));
    assert!(dangling("nowhere.md") && !dangling("src/lib.rs") && !dangling("tests"));
    assert!(dangling("src/lib.rs#L1"), "anchors are of pages");
}

#[test]
fn a_command_is_described_with_what_it_takes_and_hidden_ones_are_left_out() {
    let verb = Command::new("cut")
        .long_about("Cuts\n\nWhat is cut\nis lost")
        .arg(Arg::new("file").required(true).help("What is cut"))
        .arg(
            Arg::new("by")
                .long("by")
                .value_parser(["hand", "saw"])
                .default_value("saw")
                .help("How"),
        )
        .arg(Arg::new("secret").long("secret").hide(true));
    let hidden = Command::new("inner").hide(true);
    let text = commands(Command::new("tool").about("A tool").subcommand(verb).subcommand(hidden));
    let (_, verb) = text.split_once("## `tool cut`").unwrap();
    insta::assert_snapshot!(verb, @"
    Cuts.

    What is cut is lost.

    ```text
    tool cut [OPTIONS] <file>
    ```

    - `<file>`: What is cut.
    - `--by <by>`: How. One of `hand`, `saw`. Default: `saw`.
    ");
}

/// Fails where the committed file is another text; writes it instead where that is asked for.
fn committed(path: &str, made: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs_err::write(path, made).unwrap();
        return;
    }
    let there = fs_err::read_to_string(path).unwrap_or_default();
    let line = there.lines().zip(made.lines()).position(|(there, made)| there != made);
    let line = line.unwrap_or_else(|| there.lines().count().min(made.lines().count()));
    assert!(
        there == made,
        "{path} is not what the program says, from line {}:\n  there: {}\n  made:  {}\n\
         write it anew with `BLESS=1 cargo test --test docs`",
        line + 1,
        there.lines().nth(line).unwrap_or("(the end)"),
        made.lines().nth(line).unwrap_or("(the end)"),
    );
}

/// The page of all commands.
fn commands(mut program: Command) -> String {
    program.build();
    let name = program.get_name().to_owned();
    let mut text =
        format!("# Commands\n\n{MADE}\n\n{}\n\nEach verb also takes:\n\n", about(&program));
    for arg in args(&program) {
        text += &described(arg);
    }
    for verb in verbs(&program) {
        describe(verb, &name, "##", &mut text);
    }
    text
}

/// A section for a command, then one for each of its own.
fn describe(command: &Command, parent: &str, level: &str, text: &mut String) {
    let name = format!("{parent} {}", command.get_name());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let usage = usage.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    write!(text, "\n{level} `{name}`\n\n{}\n\n```text\n{usage}\n```\n", about(command)).unwrap();
    let own: Vec<_> = args(command).filter(|arg| !arg.is_global_set()).collect();
    if !own.is_empty() {
        text.push('\n');
        text.extend(own.into_iter().map(described));
    }
    for verb in verbs(command) {
        describe(verb, &name, &format!("{level}#"), text);
    }
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.unwrap_or_else(|| panic!("`{}` has no help", command.get_name()));
    sentences(&about.to_string()).join("\n\n")
}

fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

fn args(command: &Command) -> impl Iterator<Item = &Arg> {
    let hidden = ["help", "version"];
    command
        .get_arguments()
        .filter(move |arg| !arg.is_hide_set() && !hidden.contains(&arg.get_id().as_str()))
}

/// A line of a list: how it is written, what it is, its values and its default.
fn described(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.unwrap_or_else(|| panic!("`{arg}` has no help")).to_string();
    let mut sentences = sentences(&help);
    if arg.get_action().takes_values() {
        let values = arg.get_possible_values();
        let values: Vec<_> = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() {
            sentences.push(format!("One of {}.", values.join(", ")));
        }
        let defaults =
            arg.get_default_values().iter().map(|value| format!("`{}`", value.display()));
        let defaults: Vec<_> = defaults.collect();
        if !defaults.is_empty() {
            sentences.push(format!("Default: {}.", defaults.join(", ")));
        }
    }
    format!("- `{}`: {}\n", written(arg), sentences.join(" "))
}

/// As one types it: `-q, --quiet`, `--results <DIR>`, `<EXPERIMENT>`.
fn written(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<_> = short.into_iter().chain(long).collect();
    // Clap knows how its values are shown; it puts the last flag in front.
    let shown = arg.to_string();
    match flags.split_last() {
        Some((_, [])) | None => shown,
        Some((_, before)) => format!("{}, {shown}", before.join(", ")),
    }
}

/// Help as prose: a full stop ends each paragraph, and no line.
fn sentences(help: &str) -> Vec<String> {
    let paragraphs = help.split("\n\n").map(|paragraph| {
        let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.ends_with(['.', '!', '?']) { text } else { text + "." }
    });
    paragraphs.collect()
}

/// The pages of the repository.
fn pages() -> Vec<PathBuf> {
    let names = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let mut pages: Vec<_> = names.map(PathBuf::from).into();
    let docs = fs_err::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    pages
}

/// What is wrong with a relative link of a page, if anything is.
fn dangling(page: &Path, link: &str, pages: &BTreeMap<PathBuf, String>) -> Option<String> {
    let (file, anchor) =
        link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = match file {
        "" => page.to_owned(),
        file => page.parent().unwrap().join(file),
    };
    if !target.exists() {
        return Some(format!("`{}` is not there", target.display()));
    }
    let anchor = anchor?;
    let target = fs_err::canonicalize(target).unwrap();
    let text = pages.iter().find(|(page, _)| fs_err::canonicalize(page).unwrap() == target);
    match text {
        Some((_, text)) if anchors(text).contains(anchor) => None,
        Some((page, _)) => Some(format!("`{}` has no heading `{anchor}`", page.display())),
        None => Some("an anchor, but no page".to_owned()),
    }
}

fn is_relative(link: &str) -> bool {
    let scheme = link.split_once(':').map(|(scheme, _)| scheme);
    !scheme.is_some_and(|scheme| scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// Targets of the links of a page, in their order.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        if let Some((_, target)) = line.strip_prefix('[').and_then(|line| line.split_once("]: ")) {
            found.push(target);
        }
        // The pieces between backticks are code.
        for part in line.split('`').step_by(2) {
            found.extend(part.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)));
        }
    }
    let target = |link: &str| {
        link.split_whitespace().next().unwrap_or_default().trim_matches(['<', '>']).to_owned()
    };
    found.into_iter().map(target).collect()
}

/// Anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let Some(title) = line.trim_start_matches('#').strip_prefix(' ') else { continue };
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let slug = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let again = (1..).map(|n| format!("{slug}-{n}"));
        let free = std::iter::once(slug.clone()).chain(again).find(|slug| !anchors.contains(slug));
        anchors.extend(free);
    }
    anchors
}

/// The lines of a page outside fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}
