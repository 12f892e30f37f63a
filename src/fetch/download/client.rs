//! Makes one HTTP request and interprets its answer.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use ureq::http::{HeaderMap, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::part::{Notes, Rest};
use super::{Error, Proxy, Settings};

const REDIRECTS_MAX: u32 = 10;
/// Longest wait that a server may ask for (`Retry-After`).
const RETRY_AFTER_MAX: Duration = Duration::from_mins(2);

pub(super) struct Client {
    agent: ureq::Agent,
}

/// A body to read, and where in the file it begins.
pub(super) enum Answer {
    /// The file from its first byte.
    Whole { notes: Notes, length: Length, body: Box<dyn Read> },
    /// The file from the byte that was asked for.
    Rest { total: Option<u64>, body: Box<dyn Read> },
    /// The server has nothing after the bytes we have.
    NoMore,
    /// The bytes we have are not the beginning of the server's file.
    Misfit,
}

/// The way the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// `Content-Length`, or the last chunk of a chunked body.
    Told,
    /// Only the closing of the connection, which also happens when it breaks.
    Untold,
}

/// The reason why there is no complete body.
pub(super) enum Failure {
    /// A failure that may pass: it may work the next time.
    Again(Again),
    Final(Error),
}

#[derive(Debug)]
pub(super) struct Again {
    pub(super) why: String,
    /// Whether a server was reached.
    pub(super) answered: bool,
    pub(super) wait: Option<Duration>,
}

impl Again {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), answered: true, wait: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Final(error.into())
    }
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.root_certificates {
            tls = tls.root_certs(certificates(path)?);
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS_MAX)
            .max_idle_connections(0)
            .user_agent(concat!("sweep/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_recv_response(Some(settings.stall_timeout))
            .timeout_per_read(Some(settings.stall_timeout));
        if settings.proxy == Proxy::None {
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().into() })
    }

    /// Asks for the file at `url`, or for the rest of it.
    pub(super) fn get(&self, url: &str, rest: Option<&Rest>) -> Result<Answer, Failure> {
        let mut request = self.agent.get(url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(rest) = rest {
            request = request.header(header::RANGE, format!("bytes={}-", rest.from));
            if let Some(validator) = &rest.if_range {
                request = request.header(header::IF_RANGE, validator.clone());
            }
        }
        // What was asked for in secret is not fetched in the open.
        let request = request.config().https_only(url.starts_with("https://")).build();
        let response = request.call().map_err(|error| failure(url, error))?;
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let length = match body.content_length() {
            None if !is_chunked(&parts.headers) => Length::Untold,
            _ => Length::Told,
        };
        let content_length = body.content_length();
        let body = Box::new(body.into_with_config().limit(u64::MAX).reader());
        match (status, rest) {
            (200, _) => {
                let notes = Notes::new(url, validator(&parts.headers), content_length);
                Ok(Answer::Whole { notes, length, body })
            }
            (206, Some(rest)) => Ok(match content_range(&parts.headers) {
                Some((Some(from), total)) if from == rest.from => Answer::Rest { total, body },
                _ => Answer::Misfit,
            }),
            (416, Some(rest)) => Ok(match content_range(&parts.headers) {
                Some((None, Some(total))) if total == rest.from => Answer::NoMore,
                _ => Answer::Misfit,
            }),
            _ => Err(refusal(url, status, &parts.headers)),
        }
    }
}

fn certificates(path: &Path) -> Result<RootCerts, Error> {
    let pem = fs_err::read(path)?;
    let mut found: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(Error::Certificates { path: path.to_owned() }),
        }
    }
    if found.is_empty() {
        return Err(Error::Certificates { path: path.to_owned() });
    }
    Ok(RootCerts::from(found))
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::TRANSFER_ENCODING).and_then(|value| value.to_str().ok());
    encoding.is_some_and(|encoding| encoding.to_ascii_lowercase().contains("chunked"))
}

/// The validator that identifies this version of the file.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
    // A weak tag may stand for other bytes of the same meaning.
    text(header::ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(header::LAST_MODIFIED))
}

/// The first byte and the total in `bytes 5-9/10`, `bytes 5-9/*`, `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let from = match range {
        "*" => None,
        range => Some(range.split_once('-')?.0.parse().ok()?),
    };
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((from, total))
}

fn refusal(url: &str, status: u16, headers: &HeaderMap) -> Failure {
    match status {
        408 | 425 | 429 | 500..=599 => {
            let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let seconds = seconds.and_then(|text| text.trim().parse().ok());
            let wait = seconds.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX));
            Failure::Again(Again { wait, ..Again::new(format!("the server answers {status}")) })
        }
        _ => Failure::Final(Error::Refused { url: super::shown(url), status }),
    }
}

fn failure(url: &str, error: ureq::Error) -> Failure {
    use ureq::Error as E;
    let unreached = |why: String| Failure::Again(Again { answered: false, ..Again::new(why) });
    match error {
        E::HostNotFound => unreached("the host is not found".to_owned()),
        E::ConnectionFailed | E::ConnectProxyFailed(_) => unreached(error.to_string()),
        E::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            unreached("no connection in time".to_owned())
        }
        E::Timeout(_) => Failure::Again(Again::new("no answer in time")),
        // A certificate that is not trusted.
        E::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            let advice = "if a proxy here decrypts the connection, put its certificates into the \
                          file that SSL_CERT_FILE names";
            let problem = format!("{error}; {advice}");
            Failure::Final(Error::BadAddress { url: super::shown(url), problem })
        }
        E::Io(error) => unreached(error.to_string()),
        E::Protocol(_) | E::LargeResponseHeader(..) | E::BodyStalled => {
            Failure::Again(Again::new(format!("the answer is not HTTP: {error}")))
        }
        error => {
            Failure::Final(Error::BadAddress { url: super::shown(url), problem: error.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_or_not_believed() {
        let check = |text: &str, expect| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, text.parse().unwrap());
            assert_eq!(content_range(&headers), expect, "{text}");
        };
        check("bytes 5-9/10", Some((Some(5), Some(10))));
        check("bytes 5-9/*", Some((Some(5), None)));
        check("bytes */10", Some((None, Some(10))));
        check("bytes 5-9", None);
        check("lines 5-9/10", None);
        check("bytes five-9/10", None);
        check("bytes 5-9/-1", None);
    }

    #[test]
    fn a_weak_tag_validates_nothing() {
        let check = |pairs: &[(header::HeaderName, &str)], expect: Option<&str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(validator(&headers).as_deref(), expect);
        };
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        check(&[(header::ETAG, "\"a\""), (header::LAST_MODIFIED, date)], Some("\"a\""));
        check(&[(header::ETAG, "W/\"a\""), (header::LAST_MODIFIED, date)], Some(date));
        check(&[(header::ETAG, "W/\"a\"")], None);
    }
}
