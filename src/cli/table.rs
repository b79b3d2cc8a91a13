//! Tables for people: columns as wide as their widest cell, text to the left, numbers to the right.

use std::fmt;

/// A table with a head.
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns. A column whose name ends in a space is of numbers.
    pub fn new(head: &[&'static str]) -> Self {
        Table {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell a column.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "a cell for every column");
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: Vec<String> = self.head.iter().map(|h| h.trim_end().to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&self.rows).collect();
        for cells in &all {
            let mut line = String::from(" ");
            for (column, cell) in cells.iter().enumerate() {
                let widths = all.iter().map(|row| row[column].chars().count());
                let width = widths.max().unwrap_or_default();
                line += &if self.head[column].ends_with(' ') {
                    format!(" {cell:>width$}")
                } else {
                    format!(" {cell:<width$}")
                };
                line.push(' ');
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", "units "]);
        table.row(vec!["größer".to_owned(), "7".to_owned()]);
        table.row(vec!["b".to_owned(), "1024".to_owned()]);
        let expected = "  name    units\n  größer      7\n  b        1024\n";
        assert_eq!(table.to_string(), expected);
    }
}
