//! Unions of unions become one: a union that nothing but another union reads hands its inputs to
//! that one. So 10,000 unions in a row cost as much as one of 10,000 streams.

use crate::plan::ids::NodeId;
use crate::plan::node::{Node, NodeWork};

/// The same graph with every union in place of those that it alone reads. The order of records
/// stays: that of the inputs, from the left to the right.
pub(crate) fn flatten_unions(nodes: Vec<Node>) -> Vec<Node> {
    let mut readers = vec![0_usize; nodes.len()];
    for input in nodes.iter().flat_map(|node| &node.inputs) {
        if let Some(count) = readers.get_mut(input.0) {
            *count += 1;
        }
    }
    let mut flat: Vec<Option<Node>> = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        if let NodeWork::Union {
            log_chunk_inputs, ..
        } = &mut node.work
        {
            let mut inputs = Vec::new();
            for input in node.inputs {
                let only_reader = readers.get(input.0) == Some(&1);
                match flat.get_mut(input.0) {
                    Some(slot) if only_reader && is_union(slot) => {
                        if let Some(union) = slot.take() {
                            *log_chunk_inputs += merged_count(&union);
                            append(&mut inputs, union.inputs);
                        }
                    }
                    _ => inputs.push(input),
                }
            }
            node.inputs = inputs;
        }
        flat.push(Some(node));
    }
    renumber(flat)
}

fn is_union(node: &Option<Node>) -> bool {
    matches!(
        node,
        Some(Node {
            work: NodeWork::Union { .. },
            ..
        })
    )
}

/// By how many the inputs that emit chunks of the log become more, when a union's own inputs take
/// its place.
fn merged_count(union: &Node) -> usize {
    match &union.work {
        NodeWork::Union {
            log_chunk_inputs, ..
        } => log_chunk_inputs.saturating_sub(1),
        _ => 0,
    }
}

/// Appends without a copy of what may be long: the first input of a chain of unions.
fn append(inputs: &mut Vec<NodeId>, mut more: Vec<NodeId>) {
    if inputs.is_empty() {
        *inputs = more;
    } else {
        inputs.append(&mut more);
    }
}

/// Closes the gaps.
fn renumber(flat: Vec<Option<Node>>) -> Vec<Node> {
    let mut places = Vec::with_capacity(flat.len());
    let mut nodes: Vec<Node> = Vec::new();
    for node in flat {
        places.push(NodeId(nodes.len()));
        if let Some(mut node) = node {
            for input in &mut node.inputs {
                *input = *places.get(input.0).expect("inputs precede their readers");
            }
            nodes.push(node);
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ids::OperatorId;
    use std::sync::Arc;

    fn node(inputs: &[usize], work: NodeWork) -> Node {
        Node {
            inputs: inputs.iter().map(|i| NodeId(*i)).collect(),
            work,
        }
    }

    fn union(inputs: &[usize], log_chunk_inputs: usize) -> Node {
        let merge = Arc::new(|mut inputs: Vec<_>| inputs.pop().unwrap());
        node(
            inputs,
            NodeWork::Union {
                log_chunk_inputs,
                merge,
            },
        )
    }

    fn local(input: usize) -> Node {
        let (first, run) = (OperatorId(0), Arc::new(|_: &_, _: &_, _, _: &mut _| ()));
        node(&[input], NodeWork::Local { first, run })
    }

    fn output(input: usize) -> Node {
        node(&[input], NodeWork::Output { output: 0 })
    }

    /// Inputs of every node, and how many of a union's emit chunks of the log.
    fn shape(nodes: &[Node]) -> Vec<(Vec<usize>, Option<usize>)> {
        let inputs = |node: &Node| node.inputs.iter().map(|i| i.0).collect();
        let shape = nodes.iter().map(|node| match &node.work {
            NodeWork::Union {
                log_chunk_inputs, ..
            } => (inputs(node), Some(*log_chunk_inputs)),
            _ => (inputs(node), None),
        });
        shape.collect()
    }

    #[test]
    fn unions_that_only_a_union_reads_are_taken_in() {
        let nodes = vec![
            node(&[], NodeWork::Log),
            local(0),
            local(0),
            union(&[1, 2], 2), // 3: read by 5 alone
            union(&[1, 1], 0), // 4: of whole batches, read by 5 alone
            union(&[3, 1, 4], 2),
            output(5),
        ];
        let found = shape(&flatten_unions(nodes));
        let expected = [
            (vec![], None),
            (vec![0], None),
            (vec![0], None),
            (vec![1, 2, 1, 1, 1], Some(3)),
            (vec![3], None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_union_with_another_reader_stays() {
        for reader in [output(2), union(&[2, 1], 2)] {
            let nodes = vec![
                node(&[], NodeWork::Log),
                local(0),
                union(&[1, 1], 2),
                union(&[2, 1], 2),
                reader,
                output(3),
                output(4),
            ];
            let before = shape(&nodes);
            assert_eq!(shape(&flatten_unions(nodes)), before);
        }
    }

    /// `a.union(&a)` reads its input twice, which is no reason to compute it twice.
    #[test]
    fn a_union_that_is_read_twice_stays() {
        let nodes = vec![
            node(&[], NodeWork::Log),
            local(0),
            union(&[1, 1], 2),
            union(&[2, 2], 2),
            output(3),
        ];
        let before = shape(&nodes);
        assert_eq!(shape(&flatten_unions(nodes)), before);
    }
}
