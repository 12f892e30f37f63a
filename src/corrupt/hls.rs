//! Hue, lightness and saturation, as `OpenCV`'s `RGB2HLS` has them.

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hls {
    /// Hue in degrees, 0 to 360.
    pub(super) hue: f32,
    /// 0 to 1.
    pub(super) lightness: f32,
    /// 0 to 1.
    pub(super) saturation: f32,
}

pub(super) fn from_rgb(pixel: [u8; 3]) -> Hls {
    let [red, green, blue] = pixel.map(|channel| f32::from(channel) / 255.0);
    let (max, min) = (red.max(green).max(blue), red.min(green).min(blue));
    let (sum, difference) = (max + min, max - min);
    let lightness = sum / 2.0;
    if difference <= 0.0 {
        return Hls { hue: 0.0, lightness, saturation: 0.0 };
    }
    let saturation = difference / if lightness < 0.5 { sum } else { 2.0 - sum };
    let hue = match max {
        max if max <= red => (green - blue) / difference * 60.0,
        max if max <= green => (blue - red) / difference * 60.0 + 120.0,
        _ => (red - green) / difference * 60.0 + 240.0,
    };
    Hls { hue: hue.rem_euclid(360.0), lightness, saturation }
}

impl Hls {
    /// 0 to 1.
    pub(super) fn to_rgb(self) -> [f32; 3] {
        let Self { hue, lightness, saturation } = self;
        let high = if lightness <= 0.5 {
            lightness * (1.0 + saturation)
        } else {
            lightness + saturation - lightness * saturation
        };
        let low = 2.0 * lightness - high;
        let channel = |hue: f32| {
            let sixths = (hue / 60.0).rem_euclid(6.0);
            let share = (2.0 - (sixths - 2.0).abs()).clamp(0.0, 1.0);
            (low + (high - low) * share).clamp(0.0, 1.0)
        };
        [channel(hue + 120.0), channel(hue), channel(hue - 120.0)]
    }

    /// Cut to `OpenCV`'s bytes: two degrees, 255ths.
    pub(super) fn in_bytes(self) -> Self {
        Self {
            hue: (self.hue / 2.0).round() * 2.0,
            lightness: (self.lightness * 255.0).round() / 255.0,
            saturation: (self.saturation * 255.0).round() / 255.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_back() {
        for pixel in [[0, 0, 0], [255; 3], [200, 30, 90], [10, 250, 3], [7, 8, 200], [90, 90, 91]] {
            let back = from_rgb(pixel).to_rgb().map(|channel| (channel * 255.0).round() as u8);
            assert_eq!(back, pixel);
        }
        let red = from_rgb([255, 0, 0]);
        assert_eq!(red, Hls { hue: 0.0, lightness: 0.5, saturation: 1.0 });
        assert!((from_rgb([0, 0, 255]).hue - 240.0).abs() < 1e-4);
    }
}
