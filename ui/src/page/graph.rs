//! The operators as a drawing: what an operator reads from is at its left.

use crate::snapshot::{Operator, Snapshot};
use maud::{Markup, html};

/// Sizes in the units of the drawing.
const WIDTH: f64 = 170.0;
const HEIGHT: f64 = 40.0;
const GAP_X: f64 = 40.0;
const GAP_Y: f64 = 14.0;
/// Longer names are cut.
const LETTERS: usize = 22;
/// A program with more operators is told by the table alone.
const MOST: usize = 200;

/// A place in the drawing: column and row.
type Place = (usize, usize);

pub(super) fn draw(now: &Snapshot) -> Markup {
    let operators = &now.graph.operators;
    if operators.is_empty() || operators.len() > MOST {
        return html! {};
    }
    let places = places(operators);
    let columns = places
        .iter()
        .map(|(column, _)| column + 1)
        .max()
        .unwrap_or(1);
    let rows = places.iter().map(|(_, row)| row + 1).max().unwrap_or(1);
    let size = (
        columns as f64 * (WIDTH + GAP_X) - GAP_X + 2.0,
        rows as f64 * (HEIGHT + GAP_Y) - GAP_Y + 2.0,
    );
    html! {
        svg viewBox=(format!("-1 -1 {} {}", size.0, size.1)) width=(size.0) height=(size.1)
            role="img" class="graph" aria-label="The operators: each one reads from those at its left" {
            @for (operator, to) in operators.iter().zip(&places) {
                @for from in operator.inputs.iter().filter_map(|input| places.get(*input)) {
                    path class="edge" d=(edge(*from, *to)) {}
                }
            }
            @for (operator, place) in operators.iter().zip(&places) {
                @let (left, top) = corner(*place);
                g {
                    title { (operator.kind) " " (operator.name.as_deref().unwrap_or("")) ", " (operator.defined_at) }
                    rect class=(if operator.name.is_some() { "operator named" } else { "operator" })
                        x=(left) y=(top) width=(WIDTH) height=(HEIGHT) rx="4" {}
                    text class="kind" x=(left + 8.0) y=(top + 16.0) { (cut(&operator.kind)) }
                    @if let Some(name) = &operator.name {
                        text class="name" x=(left + 8.0) y=(top + 32.0) { (cut(name)) }
                    }
                }
            }
        }
    }
}

/// An operator is one column behind the last of its inputs; those of a column are below each other.
fn places(operators: &[Operator]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut rows: Vec<usize> = Vec::new();
    for operator in operators {
        let inputs = operator
            .inputs
            .iter()
            .filter_map(|input| places.get(*input));
        let column = inputs.clone().map(|(column, _)| column + 1).max();
        let column = column.unwrap_or(0);
        // Beside its first input, if nothing is there: chains are straight.
        let wanted = inputs.map(|(_, row)| *row).next().unwrap_or(0);
        if rows.len() <= column {
            rows.resize(column + 1, 0);
        }
        let row = rows.get(column).map_or(0, |free| wanted.max(*free));
        if let Some(free) = rows.get_mut(column) {
            *free = row + 1;
        }
        places.push((column, row));
    }
    places
}

fn corner((column, row): Place) -> (f64, f64) {
    (
        column as f64 * (WIDTH + GAP_X),
        row as f64 * (HEIGHT + GAP_Y),
    )
}

fn edge(from: Place, to: Place) -> String {
    let ((from_x, from_y), (to_x, to_y)) = (corner(from), corner(to));
    let (from_x, from_y) = (from_x + WIDTH, from_y + HEIGHT / 2.0);
    let (to_y, middle) = (to_y + HEIGHT / 2.0, (from_x + to_x) / 2.0);
    format!("M{from_x} {from_y} C{middle} {from_y} {middle} {to_y} {to_x} {to_y}")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        None => text.to_owned(),
        Some(_) => text.chars().take(LETTERS - 1).chain(['\u{2026}']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_operators_share_a_place_and_inputs_are_at_the_left() {
        let operator = |inputs: &[usize]| Operator {
            kind: "map".to_owned(),
            name: None,
            inputs: inputs.to_vec(),
            defined_at: String::new(),
        };
        // Two sources, a diamond, a join over several columns.
        let inputs: [&[usize]; 8] = [&[], &[], &[0], &[0], &[2, 3], &[1], &[4, 5], &[1]];
        let operators: Vec<Operator> = inputs.into_iter().map(operator).collect();
        let places = places(&operators);
        let mut distinct = places.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), operators.len(), "{places:?}");
        for (operator, place) in operators.iter().zip(&places) {
            assert!(
                operator
                    .inputs
                    .iter()
                    .all(|input| places[*input].0 < place.0)
            );
        }
    }

    #[test]
    fn long_names_are_cut_at_a_letter() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"\u{e4}".repeat(22)), "\u{e4}".repeat(22));
        let long = cut(&"\u{e4}".repeat(23));
        assert_eq!(long, format!("{}\u{2026}", "\u{e4}".repeat(21)));
    }
}
