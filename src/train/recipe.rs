//! The recipes: what the keys of `train` are when a spec does not set them.

use serde_json::{Value, json};

use super::Recipe;

/// One key of `train` and its value in each recipe; `None`: the recipe leaves it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Dotted, below `train`.
    pub key: &'static str,
    pub modern: Option<Value>,
    pub reference: Option<Value>,
}

/// The recipes key by key, in the order of [`super::Config`].
///
/// `modern` follows DINOv3's linear protocol where this program has the parts (warm-up, cosine to
/// 0, batch 16, head rate 1e-3, the backbone's own mean and standard deviation) and the usual rate
/// for LoRA. `reference` is the reference project's own (`RobvanGastel/dinov2-finetune`, `main.py`:
/// AdamW 3e-4 on everything, PyTorch's weight decay, batch 12, 100 epochs, 490 px, pixels in 0 to
/// 1, VOC's void trained as background, every 5th epoch validated).
pub fn rows() -> Vec<Row> {
    vec![
        row("epochs", json!(50), json!(100)),
        row("batch_size", json!(16), json!(12)),
        row("lr", json!(1e-3), json!(3e-4)),
        row("lr_encoder", json!(2e-4), json!(3e-4)),
        row("weight_decay", json!(0.05), json!(0.01)),
        row("schedule.kind", json!("cosine"), json!("constant")),
        row("schedule.warmup_percent", json!(4), Value::Null),
        row("transform.kind", json!("squash"), json!("squash")),
        row("flip", json!(0.5), json!(0.0)),
        row("photometric", json!(false), json!(false)),
        row("input.tokens", json!(32), Value::Null),
        row("input.px", Value::Null, json!([490, 490])),
        row("normalise", json!("backbone"), json!("none")),
        row("void_label", json!("ignore"), json!("background")),
        row("dev.fraction", json!(0.0), json!(0.0)),
        row("dev.seed", json!(0), json!(0)),
        row("precision", json!("auto"), json!("auto")),
        row("validate_every", json!(1), json!(5)),
    ]
}

impl Row {
    pub fn value(&self, recipe: Recipe) -> Option<&Value> {
        match recipe {
            Recipe::Modern => self.modern.as_ref(),
            Recipe::Reference => self.reference.as_ref(),
        }
    }
}

fn row(key: &'static str, modern: Value, reference: Value) -> Row {
    let given = |value: Value| (!value.is_null()).then_some(value);
    Row { key, modern: given(modern), reference: given(reference) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Config, Input, Schedule};

    /// The `train` table that a recipe alone makes.
    fn config(recipe: Recipe) -> Config {
        let mut table = json!({ "recipe": recipe });
        for row in rows() {
            let Some(value) = row.value(recipe) else { continue };
            let path = format!("/{}", row.key.replace('.', "/"));
            let (parent, name) = path.rsplit_once('/').unwrap();
            if table.pointer(parent).is_none() {
                table[parent.trim_start_matches('/')] = json!({});
            }
            table.pointer_mut(parent).unwrap()[name] = value.clone();
        }
        serde_json::from_value(table).unwrap()
    }

    #[test]
    fn each_recipe_alone_is_a_whole_config() {
        let modern = config(Recipe::Modern);
        assert_eq!((modern.epochs, modern.steps, modern.batch_size), (Some(50), None, 16));
        assert_eq!(modern.schedule, Schedule::Cosine { warmup_percent: 4 });
        let reference = config(Recipe::Reference);
        assert_eq!((reference.lr, reference.lr_encoder), (3e-4, 3e-4));
        assert_eq!(reference.schedule, Schedule::Constant {});
        assert_eq!(reference.input, Input::Px([490, 490]));
    }
}
