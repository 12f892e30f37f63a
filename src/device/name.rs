//! The one grammar of device names, for specs, command lines, orders and journals.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Device, Request};

/// The forms of a [`Request`], for messages and help.
pub const ALLOWED: &str = "`auto`, `cpu`, `cuda:N`, `wgpu:N`, or several separated by commas";

/// Largest number of characters of a wrong name that a message quotes.
const QUOTED_MAX: usize = 40;

/// The error of a name that is no device's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` names no device", quoted(name))]
pub struct UnknownDevice {
    name: String,
}

/// The errors of a text that should be a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    #[error("{0}; allowed: {ALLOWED}")]
    Unknown(UnknownDevice),
    #[error("`{device}` is listed twice; allowed: {ALLOWED}")]
    Twice { device: Device },
    #[error("`auto` stands for all devices and cannot be in a list; allowed: {ALLOWED}")]
    AutoInList,
}

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let device = match text.split_once(':') {
            None if text == "cpu" => Some(Self::Cpu),
            Some(("cuda", index)) => number(index).map(Self::Cuda),
            Some(("wgpu", index)) => number(index).map(Self::Wgpu),
            _ => None,
        };
        device.ok_or_else(|| UnknownDevice { name: text.to_owned() })
    }
}

impl Device {
    /// The device that a bare number stands for after this one in a list: `cuda:0,1` goes on with
    /// it.
    fn follower(self, text: &str) -> Option<Self> {
        match self {
            Self::Cpu => None,
            Self::Cuda(_) => number(text).map(Self::Cuda),
            Self::Wgpu(_) => number(text).map(Self::Wgpu),
        }
    }
}

impl FromStr for Request {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.trim() == "auto" {
            return Ok(Self::Auto);
        }
        let mut devices: Vec<Device> = Vec::new();
        for name in text.split(',').map(str::trim) {
            if name == "auto" {
                return Err(ParseError::AutoInList);
            }
            let follower = devices.last().and_then(|last| last.follower(name));
            let device = follower.map_or_else(|| name.parse(), Ok).map_err(ParseError::Unknown)?;
            if devices.contains(&device) {
                return Err(ParseError::Twice { device });
            }
            devices.push(device);
        }
        Ok(Self::Listed(devices))
    }
}

impl Request {
    /// Tells whether the request needs GPUs to be looked for.
    pub fn may_use_gpus(&self) -> bool {
        match self {
            Self::Auto => true,
            Self::Listed(devices) => devices.iter().any(|device| *device != Device::Cpu),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Wgpu(index) => write!(f, "wgpu:{index}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Listed(devices) => {
                let names: Vec<_> = devices.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, UnknownDevice> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl TryFrom<String> for Request {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Request> for String {
    fn from(request: Request) -> Self {
        request.to_string()
    }
}

/// Parses a number of digits alone: no sign, no space.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A wrong name on one line, cut to its beginning where it is long.
fn quoted(name: &str) -> String {
    let line = name.replace(['\n', '\r'], " ");
    match line.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_parse_and_are_written_the_same() {
        let check = |text: &str, expect: &[Device], written: &str| {
            let request: Request = text.parse().unwrap();
            assert_eq!(request, Request::Listed(expect.to_vec()), "{text}");
            assert_eq!(request.to_string(), written);
            assert_eq!(written.parse(), Ok(request));
        };
        assert_eq!("auto".parse(), Ok(Request::Auto));
        assert_eq!(Request::Auto.to_string(), "auto");
        check("cpu", &[Device::Cpu], "cpu");
        check("cuda:0", &[Device::Cuda(0)], "cuda:0");
        check("cuda:1, cuda:0", &[Device::Cuda(1), Device::Cuda(0)], "cuda:1,cuda:0");
        check("cuda:0,1", &[Device::Cuda(0), Device::Cuda(1)], "cuda:0,cuda:1");
        check("cuda:3,cpu", &[Device::Cuda(3), Device::Cpu], "cuda:3,cpu");
        check("wgpu:0,1", &[Device::Wgpu(0), Device::Wgpu(1)], "wgpu:0,wgpu:1");
        check("cuda:1,wgpu:1", &[Device::Cuda(1), Device::Wgpu(1)], "cuda:1,wgpu:1");
    }

    #[test]
    fn other_words_are_refused() {
        let check = |text: &str, expect: &str| {
            let error = text.parse::<Request>().unwrap_err().to_string();
            assert_eq!(error, format!("{expect}; allowed: {ALLOWED}"), "{text}");
        };
        for text in
            ["", "gpu", "cuda", "cuda:", "cuda:x", "cuda:+1", "cuda:4294967296", "CPU", "wgpu"]
        {
            check(text, &format!("`{text}` names no device"));
        }
        check("cpu,", "`` names no device");
        check("cpu,1", "`1` names no device");
        check("cuda:0,cpu,1", "`1` names no device");
        check("cpu,cpu", "`cpu` is listed twice");
        check("cuda:1,01", "`cuda:1` is listed twice");
        check("auto,cpu", "`auto` stands for all devices and cannot be in a list");
        let long = "x".repeat(100);
        check(&long, &format!("`{}…` names no device", &long[..QUOTED_MAX]));
    }

    #[test]
    fn json_is_the_words() {
        for (device, json) in [(Device::Cpu, r#""cpu""#), (Device::Cuda(3), r#""cuda:3""#)] {
            assert_eq!(serde_json::to_string(&device).unwrap(), json);
            assert_eq!(serde_json::from_str::<Device>(json).unwrap(), device);
        }
        let error = serde_json::from_str::<Device>(r#""auto""#).unwrap_err().to_string();
        assert!(error.contains("`auto` names no device"), "{error}");
    }

    #[test]
    fn only_the_cpu_needs_no_look_at_gpus() {
        let check = |text: &str| text.parse::<Request>().unwrap().may_use_gpus();
        assert!(!check("cpu"));
        assert!(check("auto"));
        assert!(check("cpu,cuda:0"));
    }
}
