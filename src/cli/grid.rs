//! Small tables of text on the terminal.

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};

/// A rule under the header and no other lines: a narrow terminal has no room for more.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table of `rows` under `head`, no wider than the terminal.
pub fn grid(head: &[String], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}
