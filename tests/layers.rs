//! The import order of `src/lib.rs`, and what only some modules may use.
//!
//! The order is the list in the crate's docs (`- [`module`]: …`): each module may use itself and
//! those before it. Source is scanned as text with comments and literals taken out.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

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
            match order.iter().position(|name| *name == used) {
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

/// Top-level modules named by paths from the crate's root.
fn used_modules(path: &str, tokens: &[&str], order: &[String]) -> Vec<String> {
    let root = if path == "main.rs" { "dino_sweep" } else { "crate" };
    let depth = path.trim_end_matches("/mod.rs").split('/').count();
    let mut used = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[1] != "::" || (at > 0 && tokens[at - 1] == "::") {
            continue;
        }
        if pair[0] == root {
            used.extend(first_segments(&tokens[at + 2..]));
        }
        let supers = tokens[at..].chunks(2).take_while(|step| *step == ["super", "::"]).count();
        // `super` far enough up reaches the root; only then can it name a top-level module.
        if supers >= depth {
            let named = first_segments(&tokens[at + 2 * supers..]);
            used.extend(named.into_iter().filter(|name| order.contains(name)));
        }
    }
    used
}

/// First segments of a path, or of each path of a `{…}` group.
fn first_segments(tokens: &[&str]) -> Vec<String> {
    if tokens.first() != Some(&"{") {
        return tokens.first().map(|&name| name.to_owned()).into_iter().collect();
    }
    let mut depth = 0;
    let mut names = Vec::new();
    for pair in tokens.windows(2) {
        match pair[0] {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0], "{" | ",") && pair[1] != "}" {
            names.push(pair[1].to_owned());
        }
    }
    names
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
