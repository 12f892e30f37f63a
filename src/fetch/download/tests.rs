use std::time::Instant;

use md5::{Digest, Md5};
use proptest::prelude::*;

use super::part::Notes;
use super::server::{Fault, Plan, Server};
use super::*;
use crate::fs::hash::{self, sha256_bytes};

const NAME: &str = "file.bin";

fn content(len: usize) -> Vec<u8> {
    // No two pieces are alike, so that misplaced ones show.
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn settings() -> Settings {
    Settings {
        stall_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_secs(5),
        idle_attempts: 4,
        wait: Duration::from_millis(1),
        proxy: Proxy::None,
        root_certificates: None,
    }
}

fn remote(server: &Server, bytes: &[u8]) -> RemoteFile {
    RemoteFile {
        urls: vec![server.url(NAME)],
        size: Size::Exact(bytes.len() as u64),
        checksum: Checksum::Sha256(sha256_bytes(bytes).leak()),
        room_bytes: 0,
    }
}

/// A folder to download into, and what was told meanwhile.
struct Bench {
    folder: tempfile::TempDir,
    told: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), told: Vec::new() }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("file.bin.part")
    }

    fn fetch(&mut self, file: &RemoteFile) -> Result<Fetched, Error> {
        let target = self.target();
        let told = &mut self.told;
        Downloader::new(settings()).unwrap().fetch(file, &target, &mut |news| {
            if !matches!(news, News::Bytes { .. }) {
                told.push(format!("{news:?}"));
            }
        })
    }

    fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The download succeeds under the faults, in at most `requests` requests.
fn recovers(faults: &[Fault], requests: usize) -> Bench {
    let bytes = content(50_000);
    let server = Server::start(Plan::of(NAME, &bytes, faults.to_vec()));
    let mut bench = Bench::new();
    let fetched = bench.fetch(&remote(&server, &bytes)).unwrap();
    assert_eq!(fetched, Fetched { is_new: true, proof: Proof::Published }, "{faults:?}");
    assert_eq!(fs_err::read(bench.target()).unwrap(), bytes, "{faults:?}");
    assert_eq!(bench.names(), [NAME], "nothing else stays");
    assert!(server.requests().len() <= requests, "{:?}", server.requests());
    bench
}

/// The download fails with the words of `expect`; nothing takes the target's name.
fn fails(plan: Plan, expect: &[&str]) -> Error {
    let bytes = content(50_000);
    let server = Server::start(plan);
    let mut bench = Bench::new();
    let error = bench.fetch(&remote(&server, &bytes)).unwrap_err();
    let text = error.to_string();
    for part in expect {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    assert!(!bench.target().exists());
    error
}

fn always(fault: Fault) -> Plan {
    Plan { then: fault, ..Plan::of(NAME, &content(50_000), vec![]) }
}

#[test]
fn a_file_is_fetched_once() {
    let bytes = content(50_000);
    let server = Server::start(Plan::of(NAME, &bytes, vec![]));
    let mut bench = Bench::new();
    let file = remote(&server, &bytes);
    assert!(bench.fetch(&file).unwrap().is_new);
    assert!(!bench.fetch(&file).unwrap().is_new);
    assert_eq!(server.requests(), ["/file.bin"]);
}

#[test]
fn what_was_received_is_not_asked_for_again() {
    let bytes = content(50_000);
    let drops = vec![Fault::Drop(20_000), Fault::Drop(10_000)];
    let server = Server::start(Plan::of(NAME, &bytes, drops));
    let mut bench = Bench::new();
    bench.fetch(&remote(&server, &bytes)).unwrap();
    let asked = server.requests();
    assert_eq!(asked, ["/file.bin", "/file.bin from 20000", "/file.bin from 30000"]);
}

#[test]
fn faults_that_pass_are_got_over() {
    let pause = Duration::from_secs(2);
    recovers(&[Fault::HangUp, Fault::Garbage, Fault::Drop(0)], 4);
    recovers(&[Fault::Status(500), Fault::Status(503), Fault::Status(429)], 4);
    recovers(&[Fault::Stall(20_000, pause)], 2);
    recovers(&[Fault::Stall(0, pause)], 2);
    recovers(&[Fault::Chunked], 1);
    recovers(&[Fault::ChunkedCut(30_000)], 2);
    recovers(&[Fault::CloseDelimited], 1);
    recovers(&[Fault::CloseDelimitedCut(30_000)], 2);
    recovers(&[Fault::Redirect("/file.bin?here")], 2);
    recovers(&[Fault::Drop(20_000), Fault::WrongRange], 3);
}

#[test]
fn a_server_without_ranges_sends_the_file_from_its_start() {
    let bench = recovers(&[Fault::Drop(20_000), Fault::WholeAlways], 2);
    assert!(bench.told.iter().any(|news| news.contains("StartsOver")), "{:?}", bench.told);
    // One that breaks off each time, a little later, is in the end through.
    let drops: Vec<_> = (1..8).map(|n| Fault::WholeDrop(n * 6_000)).collect();
    recovers(&drops, 8);
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_anew() {
    let bytes = content(50_000);
    let server = Server::start(Plan::of(NAME, &bytes, vec![Fault::NewTag]));
    let mut bench = Bench::new();
    // The beginning of another file, of the same address and with another tag.
    let mut part = Part::open(&bench.target()).unwrap();
    part.restart(Notes::new(&server.url(NAME), Some("\"old\"".to_owned()), None)).unwrap();
    part.append(&[7; 1000]).unwrap();
    drop(part);
    let unpublished = RemoteFile { checksum: Checksum::Unpublished, ..remote(&server, &bytes) };
    bench.fetch(&unpublished).unwrap();
    assert_eq!(fs_err::read(bench.target()).unwrap(), bytes);
    assert_eq!(server.requests(), ["/file.bin from 1000"]);
}

#[test]
fn pieces_that_do_not_fit_are_fetched_once_more_in_one() {
    let bytes = content(50_000);
    let plan = Plan { has_tags: false, ..Plan::of(NAME, &bytes, vec![]) };
    let server = Server::start(plan);
    let mut bench = Bench::new();
    fs_err::write(bench.part(), [7; 1000]).unwrap();
    bench.fetch(&remote(&server, &bytes)).unwrap();
    assert_eq!(fs_err::read(bench.target()).unwrap(), bytes);
    assert_eq!(server.requests(), ["/file.bin from 1000", "/file.bin"]);
}

#[test]
fn a_whole_part_needs_no_server() {
    let bytes = content(1000);
    let server = Server::start(Plan::of(NAME, &bytes, vec![]));
    let mut bench = Bench::new();
    let mut part = Part::open(&bench.target()).unwrap();
    part.restart(Notes::new(&server.url(NAME), None, Some(1000))).unwrap();
    part.append(&bytes).unwrap();
    drop(part);
    bench.fetch(&remote(&server, &bytes)).unwrap();
    assert_eq!(fs_err::read(bench.target()).unwrap(), bytes);
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn faults_that_stay_are_named() {
    let checked = |error: Error| assert!(error.is_failed_check(), "{error}");
    checked(fails(
        always(Fault::WrongBytes),
        &["is not the published file", "/file.bin", "sha256"],
    ));
    checked(fails(always(Fault::LongLength(10)), &["50010 bytes", "50000"]));
    checked(fails(always(Fault::ShortLength(10)), &["49990 bytes", "50000"]));
    checked(fails(always(Fault::Endless), &["bytes where 50000 are expected"]));
    fails(always(Fault::Page), &["web page"]);
    fails(always(Fault::Status(404)), &["404", "no longer there"]);
    fails(always(Fault::Status(403)), &["403", "e-mail"]);
    fails(always(Fault::Status(500)), &["stopped", "500"]);
    fails(always(Fault::RedirectForever), &["too many redirects"]);
    fails(always(Fault::HangUp), &["/file.bin"]);
    fails(always(Fault::Garbage), &["/file.bin"]);
    let error = fails(always(Fault::WholeDrop(20_000)), &["20000 bytes are kept"]);
    assert!(matches!(error, Error::Broken { done: 20_000, .. }), "{error:?}");
    let stall = Duration::from_secs(5);
    let started = Instant::now();
    fails(always(Fault::Stall(0, stall)), &["stopped", "no data arrived for too long"]);
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn without_a_server_there_is_no_long_wait() {
    let bytes = content(10);
    let server = Server::start(Plan::of(NAME, &bytes, vec![]));
    let file = remote(&server, &bytes);
    drop(server);
    let mut bench = Bench::new();
    let error = bench.fetch(&file).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(bench.names(), [""; 0]);
    let file = RemoteFile { urls: vec!["http://nowhere.invalid/x".to_owned()], ..file };
    let error = bench.fetch(&file).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let file = RemoteFile { urls: vec!["nowhere".to_owned()], ..file };
    assert!(bench.fetch(&file).unwrap_err().to_string().contains("nowhere"));
}

#[test]
fn the_next_address_is_tried_and_goes_on() {
    let bytes = content(50_000);
    let plan =
        Plan { then: Fault::Status(404), ..Plan::of(NAME, &bytes, vec![Fault::Drop(9_000)]) };
    let (first, second) = (Server::start(plan), Server::start(Plan::of(NAME, &bytes, vec![])));
    let mut bench = Bench::new();
    let urls = vec![first.url(NAME), second.url(NAME)];
    bench.fetch(&RemoteFile { urls, ..remote(&first, &bytes) }).unwrap();
    assert_eq!(fs_err::read(bench.target()).unwrap(), bytes);
    assert_eq!(second.requests(), ["/file.bin from 9000"]);
}

#[test]
fn an_unpublished_checksum_is_remembered_and_held() {
    let (bytes, mut other) = (content(3000), content(3000));
    other[17] ^= 1;
    let server = Server::start(Plan::of(NAME, &bytes, vec![]));
    let changed = Server::start(Plan::of(NAME, &other, vec![]));
    let mut bench = Bench::new();
    let unpublished = |server: &Server| RemoteFile {
        checksum: Checksum::Unpublished,
        size: Size::About(2000),
        ..remote(server, &bytes)
    };
    let record = bench.folder.path().join("file.bin.sha256");
    let first = bench.fetch(&unpublished(&server)).unwrap();
    assert_eq!(first.proof, Proof::FirstSeen { record: record.clone() });
    let expect = format!("{}  file.bin\n", sha256_bytes(&bytes));
    assert_eq!(fs_err::read_to_string(&record).unwrap(), expect);
    let again = bench.fetch(&unpublished(&server)).unwrap();
    assert_eq!(again, Fetched { is_new: false, proof: Proof::Remembered { record } });
    // Gone, and published anew with other bytes.
    fs_err::remove_file(bench.target()).unwrap();
    let error = bench.fetch(&unpublished(&changed)).unwrap_err();
    assert!(error.is_failed_check() && error.to_string().contains(&changed.base), "{error}");
    assert!(!bench.target().exists());
}

#[test]
fn a_body_without_an_end_of_its_own_needs_a_checksum() {
    let bytes = content(3000);
    let plan = Plan { then: Fault::CloseDelimited, ..Plan::of(NAME, &bytes, vec![]) };
    let server = Server::start(plan);
    let mut bench = Bench::new();
    let size = Size::About(3000);
    let file = RemoteFile { checksum: Checksum::Unpublished, size, ..remote(&server, &bytes) };
    let error = bench.fetch(&file).unwrap_err();
    assert!(matches!(error, Error::NoLength { .. }), "{error:?}");
    bench.fetch(&RemoteFile { size, ..remote(&server, &bytes) }).unwrap();
}

#[test]
fn a_prefix_and_an_md5_are_checksums_too() {
    let bytes = content(3000);
    let server = Server::start(Plan::of(NAME, &bytes, vec![]));
    let md5: &str = hash::hex(&Md5::digest(&bytes)).leak();
    let prefix = &sha256_bytes(&bytes).leak()[..8];
    for (checksum, is_right) in [
        (Checksum::Md5(md5), true),
        (Checksum::Sha256(prefix), true),
        (Checksum::Md5(format!("0{}", &md5[1..]).leak()), md5.starts_with('0')),
        (Checksum::Sha256("12345678"), false),
    ] {
        let result = Bench::new().fetch(&RemoteFile { checksum, ..remote(&server, &bytes) });
        assert_eq!(result.is_ok(), is_right, "{result:?}");
    }
}

#[test]
fn a_wrong_file_in_the_target_s_place_is_named_and_stays() {
    let bytes = content(3000);
    let server = Server::start(Plan::of(NAME, &bytes, vec![]));
    let mut bench = Bench::new();
    fs_err::write(bench.target(), "mine").unwrap();
    let error = bench.fetch(&remote(&server, &bytes)).unwrap_err();
    assert!(error.is_failed_check() && error.to_string().contains("file.bin`"), "{error}");
    assert_eq!(fs_err::read(bench.target()).unwrap(), b"mine");
}

#[test]
fn a_disk_without_room_is_found_before_the_first_byte() {
    let bytes = content(3000);
    let server = Server::start(Plan::of(NAME, &bytes, vec![]));
    let mut bench = Bench::new();
    let file = RemoteFile { room_bytes: u64::MAX / 2, ..remote(&server, &bytes) };
    let error = bench.fetch(&file).unwrap_err();
    assert!(matches!(error, Error::NoRoom { .. }), "{error:?}");
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn two_at_once_download_once() {
    let bytes = content(50_000);
    let pause = Duration::from_millis(5);
    let slow = Plan { then: Fault::Slow(5_000, pause), ..Plan::of(NAME, &bytes, vec![]) };
    let server = Server::start(slow);
    let bench = Bench::new();
    let (file, target) = (remote(&server, &bytes), bench.target());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let downloader = Downloader::new(settings()).unwrap();
                downloader.fetch(&file, &target, &mut |_| {}).unwrap();
            });
        }
    });
    assert_eq!(server.requests(), ["/file.bin"]);
    assert_eq!(bench.names(), [NAME]);
}

#[test]
fn secrets_of_an_address_are_not_shown_or_kept() {
    let bytes = content(3000);
    let plan = Plan { then: Fault::WholeDrop(10), ..Plan::of(NAME, &bytes, vec![]) };
    let server = Server::start(plan);
    let mut bench = Bench::new();
    let urls = vec![format!("{}?Signature=secret", server.url(NAME))];
    let error = bench.fetch(&RemoteFile { urls, ..remote(&server, &bytes) }).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(!bench.told.concat().contains("secret"), "{:?}", bench.told);
    let notes = fs_err::read_to_string(bench.folder.path().join("file.bin.part.json")).unwrap();
    assert!(!notes.contains("secret") && notes.contains("file.bin"), "{notes}");
    assert!(server.requests()[0].contains("secret"));
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let n = 0..60_000_usize;
    prop_oneof![
        3 => n.clone().prop_map(Fault::Drop),
        1 => Just(Fault::None),
        1 => Just(Fault::WholeAlways),
        1 => n.clone().prop_map(Fault::WholeDrop),
        1 => (1..100_u64).prop_map(Fault::LongLength),
        1 => (1..100_u64).prop_map(Fault::ShortLength),
        1 => Just(Fault::WrongBytes),
        1 => Just(Fault::WrongRange),
        1 => prop_oneof![Just(404), Just(500), Just(200), Just(206), Just(304), Just(416)]
            .prop_map(Fault::Status),
        1 => Just(Fault::Page),
        1 => Just(Fault::CloseDelimited),
        1 => n.clone().prop_map(Fault::CloseDelimitedCut),
        1 => Just(Fault::Chunked),
        1 => n.prop_map(Fault::ChunkedCut),
        1 => Just(Fault::Garbage),
        1 => Just(Fault::HangUp),
        1 => Just(Fault::NewTag),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Over several calls with any faults, the target is absent or right; and once the faults are
    /// over, it is there.
    #[test]
    fn whatever_happens_the_target_is_absent_or_right(
        faults in prop::collection::vec(any_fault(), 0..12),
        has_tags: bool,
        is_exact: bool,
    ) {
        let bytes = content(50_000);
        let n_faults = faults.len();
        let server = Server::start(Plan { has_tags, ..Plan::of(NAME, &bytes, faults) });
        let mut bench = Bench::new();
        let size = if is_exact { Size::Exact(50_000) } else { Size::About(40_000) };
        let file = RemoteFile { size, ..remote(&server, &bytes) };
        for call in 0..=n_faults + 1 {
            let result = bench.fetch(&file);
            prop_assert_eq!(bench.target().exists(), result.is_ok());
            if result.is_ok() {
                break;
            }
            prop_assert!(call <= n_faults, "{:?} after all faults", result);
        }
        prop_assert_eq!(fs_err::read(bench.target()).unwrap(), bytes);
        prop_assert_eq!(bench.names(), [NAME]);
    }
}
