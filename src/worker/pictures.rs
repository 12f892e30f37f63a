//! Pictures of what the network sees in some images while it trains.

use std::sync::Arc;

use crate::data::split::Split;
use crate::data::{Rgb, image_io};
use crate::eval::infer::{self, Item, Request};
use crate::eval::maps::{Maps, Wanted};
use crate::fs::{RunDir, write_atomic};
use crate::model::Network;
use crate::viz::contact::Contact;
use crate::viz::{overlay, palette};

/// The first images of a split, and how they are predicted.
pub(super) struct Pictures {
    pub(super) split: Arc<Split>,
    pub(super) n_images: usize,
    pub(super) request: Request,
    pub(super) dir: RunDir,
}

impl Pictures {
    /// Writes the picture of an epoch: below each image its labels and its predictions.
    pub(super) fn draw(&self, network: &mut Network, epoch: u32) -> Result<(), String> {
        let classes = self.split.classes();
        let palette = palette::of_classes(classes);
        let mut contact = Contact::default();
        let mut masks = vec![];
        for i in 0..self.n_images.min(self.split.len()) {
            let sample = self.split.load(i).map_err(|error| error.to_string())?;
            let size = |image: &Rgb| [image.height as usize, image.width as usize];
            let input = self.request.input(sample.image.clone());
            let item = Item { input: &input, size: size(&sample.image) };
            let items = [item];
            let predicted = infer::predict(network, &items, &self.request).next();
            let predicted = predicted.expect("a prediction for each image");
            let maps = Maps::of(&predicted, size(&sample.image), Wanted::default())
                .map_err(|found| format!("the network's output is not finite: {found}"))?;
            let over = |mask| overlay::overlay(&sample.image, mask, &palette, classes.len());
            let pictures = [&sample.image, &over(&sample.mask), &over(&maps.mask)];
            contact.add(&sample.id, &pictures);
            masks.extend([sample.mask, maps.mask]);
        }
        let present = overlay::present(&masks, classes.len());
        let present: Vec<u8> = present.into_iter().map(|(class, _)| class).collect();
        let legend = |width| Some(overlay::legend(&present, classes, &palette, width));
        let picture = contact.figure(legend).to_rgb();
        let bytes = image_io::write_png_rgb(&picture);
        write_atomic(&self.dir.picture(epoch), &bytes).map_err(|error| error.to_string())
    }
}
