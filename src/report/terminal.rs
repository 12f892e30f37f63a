//! A table for the terminal, readable without colour.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, TableStyle};

use crate::report::{Columns, Table};

/// Three rules and no other lines: a narrow terminal has no room for more.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// The table, as wide as the terminal at most (as wide as it is where stdout is none), its caption
/// and why runs failed.
pub fn terminal(table: &Table, columns: Columns, width: Option<u16>) -> String {
    let shown = table.shown(columns);
    let mut out = comfy_table::Table::new();
    out.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        out.set_width(width);
    }
    let aligned = |i: usize, text: &str| {
        let right = table.columns[i].kind.is_right();
        let alignment = if right { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(text).set_alignment(alignment)
    };
    out.set_header(shown.iter().map(|&i| aligned(i, &table.columns[i].head)));
    for row in &table.rows {
        out.add_row(shown.iter().map(|&i| aligned(i, &row[i].text)));
    }
    let mut text = format!("{}\n{}\n", table.experiment, out.trim_fmt());
    for sentence in &table.caption {
        text += &format!("{sentence}\n");
    }
    for failure in &table.failures {
        text += &format!("{failure}\n");
    }
    text
}
