//! The import order of `src/lib.rs` and of some folders, and what only some modules may use.
//!
//! The order is the list in the crate's docs (`- [`module`]: …`), inside a folder that of its `mod`
//! lines: each module may use itself and those before it. Source is scanned as text with comments
//! and literals taken out.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folders below `src` whose `mod` lines are in import order.
const ORDERED: &[&str] = &["experiment", "experiment/grid", "experiment/keys", "experiment/text"];

/// A word and the paths below `src` that may use it.
const RESERVED: &[(&str, &[&str])] = &[
    ("print!", &["cli", "main.rs"]),
    ("println!", &["cli", "main.rs"]),
    ("eprint!", &["cli", "main.rs"]),
    ("eprintln!", &["cli", "main.rs"]),
    ("sqlx", &["store"]),
    ("figment", &["experiment/load.rs"]),
    ("indicatif", &["cli"]),
    ("comfy_table", &["cli", "report"]),
];

#[test]
fn modules_use_only_what_comes_before_them() {
    let order = order(&read(Path::new("src/lib.rs")));
    let found: Vec<_> =
        sources().iter().flat_map(|(path, text)| check(path, text, &order)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn modules_of_ordered_folders_use_only_those_above_them() {
    let sources = sources();
    let found: Vec<_> = ORDERED.iter().flat_map(|folder| check_inside(folder, &sources)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_order_lists_every_module_once() {
    let text = read(Path::new("src/lib.rs"));
    let mut listed = order(&text);
    let mut declared: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert!(declared.len() > 10, "{declared:?}");
    listed.sort();
    declared.sort();
    assert_eq!(listed, declared, "the docs of src/lib.rs list the modules in import order");
}

#[test]
fn violations_are_found() {
    let order = ["files", "data", "cli"].map(str::to_owned);
    let check = |path: &str, text: &str| check(path, text, &order);
    // Upwards, in each form a path can take.
    assert_eq!(check("data/mod.rs", "use crate::cli::run;").len(), 1);
    assert_eq!(check("data/mod.rs", "use crate::{files::hash, cli::{a, b}};").len(), 1);
    assert_eq!(check("data.rs", "fn f() { crate :: cli :: run() }").len(), 1);
    assert_eq!(check("data/a/b.rs", "use super::super::super::cli;").len(), 1);
    assert_eq!(check("files/mod.rs", "use crate::{data, cli};").len(), 2);
    assert_eq!(check("files/mod.rs", "use crate::nowhere;").len(), 1);
    // Itself and downwards.
    let fine = "use crate::{data::Rgb, files::{self, hash as cli}}; use super::cli; use std::data;";
    assert_eq!(check("data/a/b.rs", fine), [""; 0]);
    assert_eq!(check("main.rs", "use dino_sweep::cli;"), [""; 0]);
    assert_eq!(check("main.rs", "use dino_sweep::nowhere;").len(), 1);
    // Comments and literals are no code.
    let text = r##"//! [`crate::cli`]
        /* crate::cli /* nested */ crate::cli */ const A: &str = "crate::cli \" println!";
        const B: &str = r#"crate::cli " println!"#; const C: char = '"'; fn f<'a>(x: &'a u8) {}"##;
    assert_eq!(check("data/mod.rs", text), [""; 0]);
    assert_eq!(check("data/mod.rs", r#"const C: char = '"'; println!("crate::cli");"#).len(), 1);
    // Inside an ordered folder.
    let inside = |path: &str, text: &str| {
        let head = "mod low; mod high; pub use high::{High, a::{B as C}};";
        let sources = [("data/mod.rs", head), (path, text)];
        let sources = sources.map(|(path, text)| (path.to_owned(), text.to_owned()));
        check_inside("data", &sources).len()
    };
    assert_eq!(inside("data/low.rs", "use super::high::x; fn f() { crate::data::high::g() }"), 2);
    assert_eq!(inside("data/low/a.rs", "use super::super::{High, a}; use crate::data::B;"), 2);
    assert_eq!(inside("data/low.rs", "use super::Low; #[cfg(test)] mod t { use super::high; }"), 0);
    assert_eq!(inside("data/low/tests.rs", "use crate::data::high;"), 0);
    assert_eq!(inside("data/high/mod.rs", "use super::low; use crate::{data::{low::x, high}};"), 0);
    // Reserved words.
    assert_eq!(check("data/mod.rs", "fn f() { println!(); }").len(), 1);
    assert_eq!(check("cli/run.rs", "fn f() { println!(); eprintln!(); }"), [""; 0]);
    assert_eq!(check("data/mod.rs", "use sqlx::query;").len(), 1);
    assert_eq!(check("experiment/mod.rs", "use figment::Figment;").len(), 2);
    assert_eq!(check("data/mod.rs", "fn my_println() { my_sqlx(); }"), [""; 0]);
}

/// Modules in import order, from the docs of `lib.rs`.
fn order(lib: &str) -> Vec<String> {
    lib.lines()
        .filter_map(|line| line.strip_prefix("//! - [`")?.split_once("`]:"))
        .map(|(module, _)| module.to_owned())
        .collect()
}

/// What is wrong with the file at `path` below `src`.
fn check(path: &str, text: &str, order: &[String]) -> Vec<String> {
    let code = code_only(text);
    let tokens = tokens(&code);
    let mut found = Vec::new();
    if path != "lib.rs" {
        let module = path.split('/').next().unwrap().trim_end_matches(".rs");
        // The binary stands above all modules.
        let rank = match order.iter().position(|name| name == module) {
            Some(rank) => rank,
            None if module == "main" => order.len(),
            None => {
                found.push(format!("{path}: `{module}` is not in the list of src/lib.rs"));
                order.len()
            }
        };
        for used in used_modules(path, &tokens, order) {
            match order.iter().position(|name| name == used) {
                Some(used_rank) if used_rank <= rank => {}
                Some(_) => {
                    found.push(format!("{path}: `{module}` uses `{used}`, which is above it"));
                }
                None => found.push(format!("{path}: `{used}` is not a module of the crate")),
            }
        }
    }
    for (word, homes) in RESERVED {
        let at_home =
            homes.iter().any(|home| path == *home || path.starts_with(&format!("{home}/")));
        let uses = match word.strip_suffix('!') {
            Some(name) => tokens.windows(2).any(|pair| pair == [name, "!"]),
            None => tokens.contains(word),
        };
        if uses && !at_home {
            found.push(format!("{path}: `{word}` is for {} only", homes.join(", ")));
        }
    }
    found
}

/// What uses a module below its own, among those of a folder; tests are left out.
fn check_inside(folder: &str, sources: &[(String, String)]) -> Vec<String> {
    let folder: Vec<&str> = folder.split('/').collect();
    let name = folder.join("/");
    let text = |(_, text): &(String, String)| code_only(text);
    let head =
        sources.iter().find(|(path, _)| *path == format!("{name}/mod.rs")).map(text).unwrap();
    let head = tokens(&head);
    let declared = head.windows(3).filter(|three| three[0] == "mod" && three[2] == ";");
    let order: Vec<_> = declared.map(|three| three[1]).collect();
    assert!(!order.is_empty(), "{name}");
    // What the folder's other names stand for.
    let mut exports = BTreeMap::new();
    for (at, pair) in head.windows(2).enumerate().filter(|(_, pair)| pair[0] == "use") {
        if order.contains(&pair[1]) {
            let paths = tree(&head[at + 1..]).0;
            exports.extend(paths.iter().filter_map(|path| Some((*path.last()?, path[0]))));
        }
    }
    let rank = |module: &str| order.iter().position(|known| *known == module);
    let mut found = Vec::new();
    for (path, text) in sources {
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        let inside = path.strip_prefix(&format!("{name}/")).filter(|_| !is_test);
        let own = inside.and_then(|rest| rank(rest.trim_end_matches(".rs").split('/').next()?));
        let Some(own) = own else { continue };
        let code = code_only(text);
        for (_, used) in absolute(path, without_tests(&tokens(&code))) {
            let Some([module, ..]) = used.strip_prefix(folder.as_slice()) else { continue };
            let module = exports.get(module).unwrap_or(module);
            if rank(module).is_some_and(|rank| rank > own) {
                found.push(format!("{path}: uses `{module}`, which is below it in {name}/mod.rs"));
            }
        }
    }
    found
}

/// Tokens up to the module of tests at a file's end.
fn without_tests<'a, 'b>(tokens: &'b [&'a str]) -> &'b [&'a str] {
    let tests = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let end = tokens.windows(tests.len()).position(|some| some == tests);
    &tokens[..end.unwrap_or(tokens.len())]
}

/// Top-level modules named by paths from the crate's root.
fn used_modules<'a>(path: &'a str, tokens: &[&'a str], order: &[String]) -> Vec<&'a str> {
    let named = absolute(path, tokens).into_iter().filter_map(|(root, path)| {
        let first = *path.first()?;
        // `super` in a module within a file is less far up than it looks.
        (root != Root::Super || order.iter().any(|known| known == first)).then_some(first)
    });
    named.collect()
}

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Root {
    Crate,
    Super,
}

/// The paths in a file, from the crate's root.
fn absolute<'a>(path: &'a str, tokens: &[&'a str]) -> Vec<(Root, Vec<&'a str>)> {
    let crate_name = if path == "main.rs" { "dino_sweep" } else { "crate" };
    let own = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let own: Vec<&str> = own.split('/').collect();
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[1] != "::" || (at > 0 && tokens[at - 1] == "::") {
            continue;
        }
        let supers = tokens[at..].chunks(2).take_while(|step| *step == ["super", "::"]).count();
        let (root, base, rest) = match supers {
            0 if pair[0] == crate_name => (Root::Crate, &own[..0], &tokens[at + 2..]),
            0 => continue,
            n => (Root::Super, &own[..own.len().saturating_sub(n)], &tokens[at + 2 * n..]),
        };
        for path in tree(rest).0 {
            found.push((root, [base, &path].concat()));
        }
    }
    found
}

/// The paths that begin at the first token, those of a `{…}` group one by one; and the number of
/// their tokens.
fn tree<'a>(tokens: &[&'a str]) -> (Vec<Vec<&'a str>>, usize) {
    match tokens {
        ["{", ..] => {
            let (mut paths, mut at) = (Vec::new(), 1);
            while at < tokens.len() && tokens[at] != "}" {
                let (more, n) = tree(&tokens[at..]);
                at += n;
                paths.extend(more);
                // `as name`
                while at < tokens.len() && ![",", "}"].contains(&tokens[at]) {
                    at += 1;
                }
                at += usize::from(tokens.get(at) == Some(&","));
            }
            (paths, at + 1)
        }
        [first, "::", rest @ ..] => {
            let (paths, n) = tree(rest);
            (paths.into_iter().map(|path| [&[*first][..], &path].concat()).collect(), n + 2)
        }
        [first, ..] => (vec![vec![*first]], 1),
        [] => (Vec::new(), 0),
    }
}

/// Words, `::`, and single other characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let len = match first {
            first if word(first) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            first => first.len_utf8(),
        };
        tokens.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    tokens
}

/// The source without comments, and with empty string and character literals.
fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => 1 + escaped(&rest[1..], '"'),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// Length of the (nested) block comment that `text` starts with.
fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        let open = text[at..].starts_with("/*");
        let close = text[at..].starts_with("*/");
        depth += i32::from(open) - i32::from(close);
        at += if open || close { 2 } else { text[at..].chars().next().map_or(1, char::len_utf8) };
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length up to and with the closing `quote`, backslashes escaping.
fn escaped(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of the raw string that `text` starts with; 0 where it is none.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].len() - text[1..].trim_start_matches('#').len();
    let Some(body) = text[1 + hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    body.find(&end).map_or(text.len(), |at| hashes + 2 + at + end.len())
}

/// Length of the character literal that `text` starts with; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text[1..].chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + escaped(&text[1..], '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix("src").unwrap().to_str().unwrap().replace('\\', "/");
                files.push((name, read(&path)));
            }
        }
    }
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    files
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}
