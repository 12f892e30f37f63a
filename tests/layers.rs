//! The import order of `src/lib.rs` and of some folders, and what only some modules may use.
//!
//! The order is the list in the crate's docs (`- [`module`]: …`), inside a folder that of its `mod`
//! lines: each module may use itself and those before it. Source is scanned as text with comments
//! and literals taken out.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
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
    let code = code();
    let tree = Tree::of(&code);
    let found: Vec<_> = ORDERED.iter().flat_map(|folder| check_order(folder, &tree)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn files_of_a_module_use_each_other_in_no_circle() {
    let code = code();
    let circles = circles(&Tree::of(&code));
    let found: Vec<_> =
        circles.iter().map(|(folder, uses)| format!("in {folder}:\n{uses}")).collect();
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

#[test]
fn uses_within_a_module_are_found() {
    let check_all = |changed: &[(&str, &str)]| {
        let head = "mod low; mod high; pub use high::{High, a::{B as C}}; #[cfg(test)] mod tests;";
        let low = "use super::Low; mod a; #[cfg(test)] mod t { use super::high; }";
        let high = "pub mod a; pub(super) use crate::data::low; fn f(x: low::X) {}";
        let sources = [("data/mod.rs", head), ("data/low.rs", low), ("data/high/mod.rs", high)];
        let sources: BTreeMap<_, _> = sources.iter().chain(changed).copied().collect();
        let code: Vec<_> =
            sources.into_iter().map(|(path, text)| (path.to_owned(), code_only(text))).collect();
        let tree = Tree::of(&code);
        (check_order("data", &tree).len(), circles(&tree).len())
    };
    let check = |path, text| check_all(&[(path, text)]);
    assert_eq!(check("data/low.rs", "mod a; use super::low::a;"), (0, 0));
    assert_eq!(
        check("data/low.rs", "use super::Low; #[cfg(test)] mod t { use super::high; }"),
        (0, 0)
    );
    assert_eq!(
        check("data/low.rs", "use super::high::x; fn f() { crate::data::high::g() }"),
        (1, 1)
    );
    assert_eq!(check("data/low.rs", "mod a; fn f() { super::C::g(); }"), (1, 1));
    assert_eq!(check("data/low/a.rs", "use super::super::{High, a};"), (1, 1));
    assert_eq!(check("data/low/a.rs", "use crate::{data::{low::{self}, C as D}};"), (1, 1));
    // By a name that another module passes on.
    assert_eq!(check("data/low.rs", "mod a; use super::C as E;"), (1, 1));
    assert_eq!(check("data/high/a.rs", "use super::low::x;"), (0, 0));
    // Against the order, but no circle.
    let lonely = ("data/high/mod.rs", "pub mod a; mod b;");
    assert_eq!(check_all(&[lonely, ("data/low.rs", "use super::high;")]), (1, 0));
    // Tests, and files that no `mod` line names.
    assert_eq!(check("data/tests.rs", "use super::{high, low};"), (0, 0));
    assert_eq!(check("data/low/b.rs", "use super::super::high;"), (0, 0));
    // A circle further down.
    let inner = [("data/high/a.rs", "use super::b;"), ("data/high/b.rs", "use super::a;")];
    assert_eq!(check_all(&[lonely, inner[0]]), (0, 0));
    assert_eq!(check_all(&[lonely, inner[0], inner[1]]), (0, 1));
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
        let used: BTreeSet<_> = used_modules(path, &tokens, order).into_iter().collect();
        for used in used {
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

/// What uses a module below its own, among those of an ordered folder.
fn check_order(folder: &str, tree: &Tree<'_>) -> Vec<String> {
    let folder: Vec<&str> = folder.split('/').collect();
    let order = &tree.files[&folder].children;
    assert!(!order.is_empty(), "{folder:?}");
    let rank = |module: &str| order.iter().position(|known| *known == module);
    let upwards = tree.uses(&folder).into_iter().filter(|used| rank(used.to) > rank(used.from));
    upwards
        .map(|used| format!("{used}, which is below it in {}/mod.rs", folder.join("/")))
        .collect()
}

/// The circles among the children of each module that has some: module -> the uses they are made of.
///
/// A module and its children may use each other: `mod.rs` has the vocabulary of a folder and the
/// list of what is in it.
fn circles(tree: &Tree<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (folder, file) in &tree.files {
        let uses = tree.uses(folder);
        let reach = |from| reachable(from, &uses);
        let reached: BTreeMap<_, _> =
            file.children.iter().map(|name| (*name, reach(*name))).collect();
        let in_circle = |used: &&Use<'_>| reached[used.to].contains(used.from);
        let circle: Vec<_> = uses.iter().filter(in_circle).map(ToString::to_string).collect();
        if !circle.is_empty() {
            found.insert(folder.join("/"), circle.join("\n"));
        }
    }
    found
}

/// The modules that `from` uses, directly or through others.
fn reachable<'a>(from: &'a str, uses: &[Use<'a>]) -> BTreeSet<&'a str> {
    let (mut reached, mut todo) = (BTreeSet::new(), vec![from]);
    while let Some(at) = todo.pop() {
        let next = uses.iter().filter(|used| used.from == at).map(|used| used.to);
        todo.extend(next.filter(|to| reached.insert(*to)));
    }
    reached
}

/// A module that uses another one of the same parent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Use<'a> {
    from: &'a str,
    to: &'a str,
    /// The file that does.
    path: &'a str,
}

impl fmt::Display for Use<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` uses `{}`", self.path, self.from, self.to)
    }
}

/// The crate's files but for tests, by the path of their module.
struct Tree<'a> {
    files: BTreeMap<Vec<&'a str>, File<'a>>,
}

/// What a file says of modules.
struct File<'a> {
    path: &'a str,
    /// Its `mod` lines, in that order; tests are left out.
    children: Vec<&'a str>,
    /// What its `use` lines bring in: (name, the path it stands for).
    names: BTreeMap<&'a str, Vec<&'a str>>,
    /// The paths that it names.
    used: Vec<Vec<&'a str>>,
}

impl<'a> Tree<'a> {
    /// Of (path below `src`, its source without comments).
    fn of(sources: &'a [(String, String)]) -> Self {
        let is_module = |path: &str| !["lib.rs", "main.rs"].contains(&path);
        let sources = sources.iter().filter(|(path, _)| is_module(path));
        let mut files: BTreeMap<_, _> =
            sources.map(|(path, code)| (module(path), File::of(path, &tokens(code)))).collect();
        let declared = |module: &[&str]| {
            (1..module.len()).all(|n| {
                files.get(&module[..n]).is_some_and(|parent| parent.children.contains(&module[n]))
            })
        };
        let kept: Vec<_> = files.keys().filter(|module| declared(module)).cloned().collect();
        files.retain(|module, _| kept.contains(module));
        Self { files }
    }

    /// How the children of a module use each other, each pair once.
    fn uses(&self, folder: &[&'a str]) -> Vec<Use<'a>> {
        let children = self.files.get(folder).map_or(&[][..], |file| &file.children);
        let mut found = BTreeMap::new();
        for (module, file) in &self.files {
            let Some([from, ..]) = module.strip_prefix(folder) else { continue };
            for used in &file.used {
                let used = self.resolved(used);
                let to = used.strip_prefix(folder).and_then(|rest| rest.first().copied());
                if let Some(to) = to.filter(|to| to != from && children.contains(to)) {
                    found.entry((*from, to)).or_insert(Use { from, to, path: file.path });
                }
            }
        }
        found.into_values().collect()
    }

    /// Where a path leads, past the names that modules on its way only pass on.
    fn resolved(&self, path: &[&'a str]) -> Vec<&'a str> {
        let mut path = path.to_vec();
        let mut at = 1;
        // Two modules may pass on each other's name.
        for _ in 0..100 {
            let Some(name) = path.get(at) else { break };
            let file = self.files.get(&path[..at]);
            match file
                .filter(|file| !file.children.contains(name))
                .and_then(|file| file.names.get(name))
            {
                Some(target) => {
                    path = [target, &path[at + 1..]].concat();
                    at = 1;
                }
                None => at += 1,
            }
        }
        path
    }
}

impl<'a> File<'a> {
    fn of(path: &'a str, tokens: &[&'a str]) -> Self {
        let is_test = |at: usize| {
            let before = tokens[..at].iter().rposition(|token| [";", "}", "{"].contains(token));
            let attributes = &tokens[before.map_or(0, |before| before + 1)..at];
            attributes.windows(3).any(|three| three == ["cfg", "(", "test"])
        };
        let mods = tokens
            .windows(3)
            .enumerate()
            .filter(|(at, three)| three[0] == "mod" && three[2] == ";" && !is_test(*at));
        let children: Vec<_> = mods.map(|(_, three)| three[1]).collect();
        let code = without_tests(tokens);
        let own = module(path);
        let mut names = BTreeMap::new();
        for at in (0..code.len()).filter(|at| code[*at] == "use") {
            for (target, name) in tree(&code[at + 1..]).0 {
                let target = match target[0] {
                    "crate" => target[1..].to_vec(),
                    "self" => [&own, &target[1..]].concat(),
                    "super" => {
                        let n = target.iter().take_while(|step| **step == "super").count();
                        [&own[..own.len().saturating_sub(n)], &target[n..]].concat()
                    }
                    child if children.contains(&child) => [&own, &target[..]].concat(),
                    _ => continue,
                };
                names.insert(name, target);
            }
        }
        let used = absolute(path, code).into_iter().map(|(_, used)| used).collect();
        Self { path, children, names, used }
    }
}

/// The path of a file's module.
fn module(path: &str) -> Vec<&str> {
    path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').collect()
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
    let own = module(path);
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
        for (path, _) in tree(rest).0 {
            found.push((root, [base, &path].concat()));
        }
    }
    found
}

/// The paths that begin at the first token, those of a `{…}` group one by one, each with the name it
/// has from there on; and the number of their tokens.
fn tree<'a>(tokens: &[&'a str]) -> (Vec<(Vec<&'a str>, &'a str)>, usize) {
    match tokens {
        ["{", ..] => {
            let (mut paths, mut at) = (Vec::new(), 1);
            while at < tokens.len() && tokens[at] != "}" {
                let (more, n) = tree(&tokens[at..]);
                at += n;
                paths.extend(more);
                at += usize::from(tokens.get(at) == Some(&","));
            }
            (paths, at + 1)
        }
        [first, "::", rest @ ..] => {
            let (paths, n) = tree(rest);
            let with_first = |(path, name): (Vec<&'a str>, &'a str)| match path[..] {
                ["self"] => (vec![*first], if name == "self" { *first } else { name }),
                _ => ([&[*first][..], &path].concat(), name),
            };
            (paths.into_iter().map(with_first).collect(), n + 2)
        }
        [first, "as", name, ..] => (vec![(vec![*first], *name)], 3),
        [first, ..] => (vec![(vec![*first], *first)], 1),
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

/// The files below `src`, without comments and literals.
fn code() -> Vec<(String, String)> {
    sources().into_iter().map(|(path, text)| (path, code_only(&text))).collect()
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
