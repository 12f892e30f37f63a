//! A web server for tests, with faults on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running server; stops when dropped.
pub(crate) struct Server {
    pub(crate) base: String,
    log: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The fault of one request; requests after the last planned one are served correctly.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    None,
    /// Closes the connection after this many bytes of the body.
    Drop(usize),
    /// Sends nothing more after this many bytes, for so long.
    Stall(usize, Duration),
    /// Ignores `Range`.
    WholeAlways,
    /// Ignores `Range`, and breaks off.
    WholeDrop(usize),
    /// Says `Content-Length` is this much more than it is.
    LongLength(u64),
    /// Says `Content-Length` is this much less than it is.
    ShortLength(u64),
    /// Other bytes of the same length.
    WrongBytes,
    /// Answers a `Range` from another byte than asked.
    WrongRange,
    Status(u16),
    Page,
    RedirectForever,
    /// To this path.
    Redirect(&'static str),
    /// Neither length nor chunks: the connection's end is the body's.
    CloseDelimited,
    /// The same, cut after this many bytes.
    CloseDelimitedCut(usize),
    Chunked,
    /// Chunks that end without the last one.
    ChunkedCut(usize),
    /// Chunks without an end.
    Endless,
    /// No HTTP at all.
    Garbage,
    /// Closes before a word.
    HangUp,
    /// Sends slowly: so many bytes, then a pause, again and again.
    Slow(usize, Duration),
    NewTag,
}

pub(crate) struct Plan {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// One for each request, in order.
    pub(crate) faults: Vec<Fault>,
    /// What requests after the last of `faults` meet.
    pub(crate) then: Fault,
    pub(crate) has_tags: bool,
}

impl Plan {
    pub(crate) fn of(name: &str, bytes: &[u8], faults: Vec<Fault>) -> Self {
        let files = BTreeMap::from([(name.to_owned(), bytes.to_vec())]);
        Self { files, faults, then: Fault::None, has_tags: true }
    }
}

impl Server {
    pub(crate) fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (log, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            move || {
                let plan = Arc::new(plan);
                for (index, stream) in listener.incoming().enumerate() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (plan, log) = (Arc::clone(&plan), Arc::clone(&log));
                    // A client that goes away is no fault of the server.
                    std::thread::spawn(move || drop(serve(stream.unwrap(), &plan, index, &log)));
                }
            }
        });
        Self { base, log, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// A line for each request: its path and range.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.base.trim_start_matches("http://")));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Request {
    path: String,
    from: Option<usize>,
    if_range: Option<String>,
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut request = Request { path, from: None, if_range: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let from = value.trim_start_matches("bytes=").trim_end_matches('-');
                request.from = from.parse().ok();
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(request)
}

fn serve(
    mut stream: TcpStream,
    plan: &Plan,
    index: usize,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let range = request.from.map_or(String::new(), |from| format!(" from {from}"));
    log.lock().unwrap().push(format!("{}{range}", request.path));
    let fault = plan.faults.get(index).unwrap_or(&plan.then).clone();
    let name = request.path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let file = plan.files.get(name);
    match (&fault, file) {
        (Fault::HangUp, _) => return Ok(()),
        (Fault::Garbage, _) => return stream.write_all(b"\x00\x01 good day\r\n\r\n"),
        (Fault::Page, _) => {
            let page = "<!DOCTYPE html><html><body>Log in</body></html>";
            let length = page.len();
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n\
                 {page}"
            );
        }
        (Fault::RedirectForever, _) => return redirect(&mut stream, &request.path),
        (Fault::Redirect(path), _) if request.path != *path => return redirect(&mut stream, path),
        (Fault::Status(status), _) => return empty(&mut stream, *status),
        (_, None) => return empty(&mut stream, 404),
        _ => {}
    }
    let file = file.expect("none was answered");
    let tag = if matches!(fault, Fault::NewTag) { "\"two\"" } else { "\"one\"" };
    let tag = plan.has_tags.then_some(tag);
    answer(&mut stream, file, &request, &fault, tag)?;
    stream.flush()?;
    // What the client still says is read, so that closing does not cut off what was sent.
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer(
    stream: &mut TcpStream,
    file: &[u8],
    request: &Request,
    fault: &Fault,
    tag: Option<&str>,
) -> std::io::Result<()> {
    let total = file.len();
    let fresh = request.if_range.as_deref().is_some_and(|asked| Some(asked) != tag);
    let whole = matches!(fault, Fault::WholeAlways | Fault::WholeDrop(_)) || fresh;
    let from = request.from.filter(|_| !whole);
    if from.is_some_and(|from| from >= total) {
        return write!(
            stream,
            "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n\r\n"
        );
    }
    let from = from.map(|from| if matches!(fault, Fault::WrongRange) { from / 2 } else { from });
    let start = from.unwrap_or(0);
    let mut body = file[start..].to_vec();
    if matches!(fault, Fault::WrongBytes) {
        for byte in &mut body {
            *byte ^= 0x55;
        }
    }
    let length = match fault {
        Fault::LongLength(more) => Some(body.len() as u64 + more),
        Fault::ShortLength(less) => Some((body.len() as u64).saturating_sub(*less)),
        Fault::CloseDelimited
        | Fault::CloseDelimitedCut(_)
        | Fault::Chunked
        | Fault::ChunkedCut(_)
        | Fault::Endless => None,
        _ => Some(body.len() as u64),
    };
    match from {
        Some(from) => {
            let last = total - 1;
            write!(stream, "HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{last}/{total}\r\n")?;
        }
        None => write!(stream, "HTTP/1.1 200 OK\r\n")?,
    }
    if let Some(tag) = tag {
        write!(stream, "ETag: {tag}\r\n")?;
    }
    match (length, fault) {
        (Some(length), _) => write!(stream, "Content-Length: {length}\r\n")?,
        (None, Fault::CloseDelimited | Fault::CloseDelimitedCut(_)) => {}
        (None, _) => write!(stream, "Transfer-Encoding: chunked\r\n")?,
    }
    write!(stream, "Connection: close\r\n\r\n")?;
    send(stream, &body, fault)
}

fn send(stream: &mut TcpStream, body: &[u8], fault: &Fault) -> std::io::Result<()> {
    let upto = |n: usize| &body[..n.min(body.len())];
    match *fault {
        Fault::Drop(n) | Fault::WholeDrop(n) | Fault::CloseDelimitedCut(n) => {
            stream.write_all(upto(n))
        }
        Fault::Stall(n, time) => {
            stream.write_all(upto(n))?;
            std::thread::sleep(time);
            Ok(())
        }
        Fault::Slow(n, pause) => {
            for piece in body.chunks(n) {
                stream.write_all(piece)?;
                std::thread::sleep(pause);
            }
            Ok(())
        }
        Fault::Chunked => {
            chunks(stream, body)?;
            stream.write_all(b"0\r\n\r\n")
        }
        Fault::ChunkedCut(n) => chunks(stream, upto(n)),
        Fault::Endless => loop {
            chunks(stream, body)?;
        },
        _ => stream.write_all(body),
    }
}

fn chunks(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    for piece in body.chunks(1000) {
        write!(stream, "{:x}\r\n", piece.len())?;
        stream.write_all(piece)?;
        stream.write_all(b"\r\n")?;
    }
    Ok(())
}

fn redirect(stream: &mut TcpStream, path: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 302 There\r\nLocation: {path}\r\nContent-Length: 0\r\n\r\n")
}

fn empty(stream: &mut TcpStream, status: u16) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
