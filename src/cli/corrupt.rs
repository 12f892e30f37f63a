//! `sweep corrupt`: writes a corrupted copy of an image, or a picture of all corruptions.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;

use super::fault::{Exit, OrExit, fault};
use super::{Context, printer};
use crate::corrupt::frost::{self, Source};
use crate::corrupt::{Corruption, Corruptor, Effect, Severity, TABLE};
use crate::data::{Mask, Rgb, image_io};
use crate::fs::write_atomic;
use crate::viz::sheet;

/// Write a corrupted copy of an image, or a picture of all corruptions and levels
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A JPEG or PNG file
    pub image: PathBuf,
    /// Draw every corruption at every level, in one labelled picture
    #[arg(long, conflicts_with_all = ["corruption", "severity"])]
    pub all: bool,
    /// Corruption to apply
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "all",
        requires = "severity",
        value_parser = PossibleValuesParser::new(TABLE.iter().map(|row| row.name))
    )]
    pub corruption: Option<String>,
    /// Level of the corruption, 1 (weak) to 5
    #[arg(long, value_name = "N", requires = "corruption",
          value_parser = clap::value_parser!(u8).range(1..=5))]
    pub severity: Option<u8>,
    /// Seed of the corruption's randomness; scores use 0
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// The PNG file to write
    #[arg(long, short, value_name = "FILE.png")]
    pub output: PathBuf,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    check_output(args)?;
    let image = image_io::read_rgb(&args.image).or_exit(Exit::Environment)?;
    let textures = frost::find(&context.machine()?.data_dirs).or_exit(Exit::Environment)?;
    let source = if textures.is_some() { Source::Originals } else { Source::Procedural };
    // As a dataset would call it.
    let id = args.image.file_stem().unwrap_or_default().to_string_lossy();
    let corruptor = |effect, severity| Corruptor::new(effect, severity, textures.as_deref());
    let asked = args.corruption.as_deref().and_then(Corruption::parse);
    say_where_frost_is_from(source, asked.is_none_or(|asked| asked == Corruption::Frost));
    let picture =
        if let Some((corruption, severity)) = asked.zip(args.severity.and_then(Severity::new)) {
            corruptor(Effect::of(corruption, source), severity)
                .map(|corruptor| corruptor.corrupt(args.seed, &id, (&image, &mut Mask::empty())))
        } else {
            sheet::grid((&image, &id), (args.seed, source), corruptor)
        }
        .or_exit(Exit::Environment)?;
    write(&args.output, &picture)?;
    Ok(Exit::Done)
}

/// Refuses an unusable output before anything is drawn.
fn check_output(args: &Args) -> anyhow::Result<()> {
    let output = args.output.display();
    let is_png = args.output.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("png"));
    if !is_png {
        return Err(fault(
            Exit::Usage,
            format!("the name of the output `{output}` must end in .png"),
        ));
    }
    let same = |a: &Path, b: &Path| match (fs_err::canonicalize(a), fs_err::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        // One that does not exist is not the other.
        _ => false,
    };
    if same(&args.image, &args.output) {
        return Err(fault(
            Exit::Usage,
            format!("the output `{output}` is the input image: name another file"),
        ));
    }
    Ok(())
}

fn say_where_frost_is_from(source: Source, is_drawn: bool) {
    if is_drawn && source == Source::Procedural {
        printer::aside(
            "frost* is drawn procedurally, as no data folder has the original textures in \
             `frost/`: `sweep fetch frost` gets them",
        );
    }
}

fn write(path: &Path, picture: &Rgb) -> anyhow::Result<()> {
    write_atomic(path, &image_io::write_png_rgb(picture)).or_exit(Exit::Environment)?;
    let (width, height) = (picture.width, picture.height);
    printer::aside(&format!("wrote `{}` ({width}x{height})", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Machine;

    fn args(image: &Path, output: &Path, name: Option<&str>) -> Args {
        Args {
            image: image.to_owned(),
            all: name.is_none(),
            corruption: name.map(str::to_owned),
            severity: name.map(|_| 3),
            seed: 0,
            output: output.to_owned(),
        }
    }

    #[test]
    fn a_corruption_and_the_grid_are_written() {
        let temp = tempfile::tempdir().unwrap();
        let (image, output) = (temp.path().join("a.png"), temp.path().join("out/b.png"));
        let picture =
            Rgb { width: 12, height: 9, pixels: (0..12 * 9 * 3).map(|i| i as u8).collect() };
        write_atomic(&image, &image_io::write_png_rgb(&picture)).unwrap();
        let context = Context::of(Machine { data_dirs: vec![], ..Machine::default() });
        for name in TABLE.iter().map(|row| Some(row.name)).chain([None]) {
            assert_eq!(run(&args(&image, &output, name), &context).unwrap(), Exit::Done);
            let written = image_io::read_rgb(&output).unwrap();
            assert_eq!((written.width, written.height) == (12, 9), name.is_some(), "{name:?}");
        }
        let exit = |image: &Path, output: &Path| {
            Exit::of(&run(&args(image, output, Some("fog")), &context).unwrap_err())
        };
        assert_eq!(exit(&image, &image), Exit::Usage);
        assert_eq!(exit(&image, &temp.path().join("b.jpg")), Exit::Usage);
        assert_eq!(exit(&temp.path().join("none.png"), &output), Exit::Environment);
        assert_eq!(exit(&image, &image.join("b.png")), Exit::Environment);
    }

    #[test]
    fn the_picture_is_the_one_that_is_scored_unless_another_seed_is_asked_for() {
        let temp = tempfile::tempdir().unwrap();
        let (image, output) = (temp.path().join("2007_1.png"), temp.path().join("b.png"));
        let picture = Rgb { width: 40, height: 30, pixels: vec![90; 3600] };
        write_atomic(&image, &image_io::write_png_rgb(&picture)).unwrap();
        let context = Context::of(Machine { data_dirs: vec![], ..Machine::default() });
        let draw = |seed: u64| {
            let args = Args { seed, ..args(&image, &output, Some("snow")) };
            run(&args, &context).unwrap();
            image_io::read_rgb(&output).unwrap()
        };
        let severity = Severity::new(3).unwrap();
        let scored = Corruptor::new(Effect::Corruption(Corruption::Snow), severity, None).unwrap();
        assert_eq!(draw(0), scored.corrupt(0, "2007_1", (&picture, &mut Mask::empty())));
        assert_ne!(draw(1), draw(0));
    }
}
