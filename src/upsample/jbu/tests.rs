use super::*;
use crate::upsample::testing::path;

#[test]
fn what_was_stored_with_it_is_left_out_and_nothing_else() {
    for name in [
        "model.0.cls_token",
        "model.model.blocks.0.norm1.bias",
        "downsampler.x",
        "scale_net.net.0.bias",
    ] {
        assert!((METHOD.is_beside)(name), "{name}");
    }
    for name in ["model.1.norm.weight", "upsampler.up1.range_temp", "upsampler.up5.x", "modelx"] {
        assert!(!(METHOD.is_beside)(name), "{name}");
    }
}

#[test]
fn the_norm_is_there_where_the_file_has_it() {
    for (file, has) in [("weights_norm_c12", true), ("weights_nonorm_c12", false)] {
        let mut tensors =
            Tensors::read(&path(&format!("jbu/{file}.safetensors")), &METHOD).unwrap();
        let jbu = Jbu::take(&mut tensors, &Options::default());
        assert_eq!(jbu.norm.is_some(), has);
        tensors.finish(&METHOD).unwrap();
    }
}
