//! Intents that are right, and every way in which they are wrong.

use super::*;
use serde_yaml::Value;

const DEMO: &str = "
apiVersion: stratovol.io/v1alpha1
kind: VolumeIntent
metadata: {name: demo}
spec:
  size: 2 GiB
  tree:
    mirror:
      copies: 2
      rules: [{separate: {by: enclosure, strong: true}}]
      of:
        extents:
          rules: [{select: {media: [nvme, ssd]}}, {prefer: {weight: 5, match: {media: nvme}}}]
";

fn with_tree(tree: &str) -> Result<Intent, String> {
    let head = "apiVersion: stratovol.io/v1alpha1\nkind: VolumeIntent\nmetadata: {name: t}\n";
    serde_yaml::from_str(&format!("{head}spec: {{size: 1 GiB, tree: {tree}}}"))
        .map_err(|e| e.to_string())
}

fn errors(tree: &str) -> Vec<String> {
    match with_tree(tree).unwrap().validate() {
        Ok(()) => vec![],
        Err(all) => all.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_intent_is_read_and_written() {
    let intent: Intent = serde_yaml::from_str(DEMO).unwrap();
    intent.validate().unwrap();
    let yaml = serde_yaml::to_string(&intent).unwrap();
    assert_eq!(serde_yaml::from_str::<Intent>(&yaml).unwrap(), intent);
    let json = serde_json::to_string(&intent).unwrap();
    assert_eq!(serde_json::from_str::<Intent>(&json).unwrap(), intent);
    let spec: Value = serde_yaml::from_str(DEMO).unwrap();
    let written: Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(written, spec, "the text form is stable");
}

#[test]
fn what_is_not_known_is_an_error_of_the_parser() {
    for (tree, says) in [
        (
            "{parity: {data: 4, parity: 2}}",
            "'parity' is not supported by this version",
        ),
        (
            "{mirror: {copies: 2, colour: red, of: {extents: {}}}}",
            "unknown field `colour`",
        ),
        ("{mirrors: {}}", "unknown field `mirrors`"),
        ("{}", "this names 0"),
        (
            "{extents: {}, concat: {parts: 1, of: {extents: {}}}}",
            "this names 2",
        ),
        (
            "{extents: {rules: [{spread: {by: rack}}]}}",
            "'spread' is not supported by this version",
        ),
        (
            "{extents: {rules: [{gather: {by: rack}}]}}",
            "unknown field `gather`",
        ),
        ("{extents: {rules: [{}]}}", "this names 0"),
        (
            "{extents: {rules: [{confine: {by: a}, separate: {by: a}}]}}",
            "this names 2",
        ),
        (
            "{extents: {rules: [{confine: {by: a, strong: true}}]}}",
            "unknown field `strong`",
        ),
        (
            "{extents: {rules: [{select: {media: 7}}]}}",
            "a value (as text) or a list of values",
        ),
        ("{mirror: {copies: -1, of: {extents: {}}}}", "expected u32"),
    ] {
        let error = with_tree(tree).unwrap_err();
        assert!(error.contains(says), "{tree}: {error}");
    }
    for (from, to, says) in [
        ("size: 2 GiB", "size: -2", "a size cannot be negative"),
        ("size: 2 GiB", "size: -2 GiB", "a size cannot be negative"),
        ("size: 2 GiB", "sise: 2 GiB", "unknown field `sise`"),
    ] {
        let error = serde_yaml::from_str::<Intent>(&DEMO.replace(from, to)).unwrap_err();
        assert!(error.to_string().contains(says), "{to}: {error}");
    }
}

#[test]
fn the_head_is_checked() {
    for (from, to, says) in [
        ("size: 2 GiB", "size: 0", "spec.size is zero"),
        ("size: 2 GiB", "size: 4097", "not a multiple of a block"),
        ("v1alpha1", "v2", "apiVersion is 'stratovol.io/v2'"),
        ("VolumeIntent", "Pod", "kind is 'Pod'"),
        ("name: demo", "name: ''", "metadata.name is empty"),
        (
            "size: 2 GiB",
            "size: 18446744073709547520",
            "does not fit 64 bits",
        ),
    ] {
        let intent: Intent = serde_yaml::from_str(&DEMO.replace(from, to)).unwrap();
        let all = intent.validate().unwrap_err();
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].to_string().contains(says), "{}", all[0]);
    }
}

#[test]
fn each_mistake_in_a_tree_has_its_own_error() {
    let deep = (0..7).fold("{extents: {}}".to_owned(), |t, _| {
        format!("{{concat: {{parts: 1, of: {t}}}}}")
    });
    for (tree, says) in [
        (
            "{mirror: {copies: 0, of: {extents: {}}}}",
            "0 copies, but 1 to 255 are possible",
        ),
        (
            "{stripe: {columns: 256, unit: 1 MiB, of: {extents: {}}}}",
            "256 columns",
        ),
        ("{concat: {parts: 0, of: {extents: {}}}}", "0 parts"),
        (
            "{stripe: {columns: 2, unit: 1536 KiB, of: {extents: {}}}}",
            "unit 1.5 MiB is not a multiple of 1 MiB",
        ),
        (
            "{stripe: {columns: 2, unit: 0, of: {extents: {}}}}",
            "unit 0 B is not a multiple",
        ),
        (
            "{stripe: {columns: 2, unit: 2 GiB, of: {extents: {}}}}",
            "unit 2 GiB is not",
        ),
        (
            "{mirror: {copies: 2, of: {concat: {parts: 1, of: {mirror: {copies: 1, of: {extents: {}}}}}}}}",
            "spec.tree.mirror.of.concat.of.mirror: a mirror inside a mirror",
        ),
        (
            deep.as_str(),
            "the tree has 7 levels below its root; 6 are possible",
        ),
        (
            "{stripe: {columns: 200, unit: 1 MiB, of: {mirror: {copies: 6, of: {extents: {}}}}}}",
            "1200 leaves",
        ),
        (
            "{extents: {rules: [{separate: {by: rack}}]}}",
            "no children to separate",
        ),
        (
            "{extents: {rules: [{confine: {by: ''}}]}}",
            "names no attribute",
        ),
        ("{extents: {rules: [{select: {}}]}}", "names no attribute"),
        (
            "{extents: {rules: [{select: {media: []}}]}}",
            "an empty value",
        ),
        (
            "{extents: {rules: [{prefer: {weight: 0, match: {media: ssd}}}]}}",
            "weight outside 1 to 1000",
        ),
    ] {
        let all = errors(tree);
        assert_eq!(all.len(), 1, "{tree}: {all:?}");
        assert!(all[0].contains(says), "{tree}: {}", all[0]);
    }
}

#[test]
fn contradictions_are_found_across_levels() {
    for (tree, says) in [
        (
            "{extents: {rules: [{select: {media: ssd}}, {exclude: {media: [ssd, hdd]}}]}}",
            "every disk that is selected is excluded",
        ),
        (
            "{extents: {rules: [{exclude: {media: '*'}}, {select: {media: ssd}}]}}",
            "every disk that is selected is excluded",
        ),
        (
            "{mirror: {copies: 2, rules: [{select: {media: ssd}}], of: {extents: {rules: [{select: {media: hdd}}]}}}}",
            "spec.tree.mirror.of.extents.rules[0]: 'select media=hdd' contradicts 'select media=ssd' of spec.tree.mirror.rules[0]: no value satisfies both",
        ),
        (
            "{mirror: {copies: 2, rules: [{confine: {by: rack}}, {separate: {by: rack}}], of: {extents: {}}}}",
            "what shares one value cannot differ in it",
        ),
        (
            "{stripe: {columns: 2, unit: 1 MiB, rules: [{confine: {by: rack}}], of: {mirror: {copies: 2, rules: [{separate: {by: rack}}], of: {extents: {}}}}}}",
            "'separate by rack' contradicts 'confine by rack' of spec.tree.stripe.rules[0]",
        ),
        (
            "{mirror: {copies: 2, rules: [{confine: {by: disk}}], of: {extents: {}}}}",
            "'strong separate by disk' contradicts 'confine by disk'",
        ),
    ] {
        let all = errors(tree);
        assert_eq!(all.len(), 1, "{tree}: {all:?}");
        assert!(all[0].contains(says), "{tree}: {}", all[0]);
    }
    for fine in [
        "{mirror: {copies: 1, rules: [{confine: {by: rack}}, {separate: {by: rack}}], of: {extents: {}}}}",
        "{mirror: {copies: 2, rules: [{separate: {by: rack}}], of: {extents: {rules: [{confine: {by: rack}}]}}}}",
        "{extents: {rules: [{select: {media: [ssd, nvme]}}, {exclude: {media: ssd}}]}}",
        "{extents: {rules: [{select: {media: ssd}}, {exclude: {media: ssd, rack: a}}]}}",
        "{mirror: {copies: 1, of: {stripe: {columns: 1, unit: 1 MiB, of: {extents: {}}}}}}",
    ] {
        assert!(errors(fine).is_empty(), "{fine}: {:?}", errors(fine));
    }
}

#[test]
fn sizes_go_in_steps_that_keep_columns_equal() {
    let step = |tree: &str, equal| with_tree(tree).unwrap().spec.tree.size_step(equal);
    let nested = "{stripe: {columns: 2, unit: 3 MiB, of: {stripe: {columns: 2, unit: 4 MiB, of: {extents: {}}}}}}";
    assert_eq!(step(nested, true), Some(Bytes::mib(48)));
    let parts = "{concat: {parts: 3, of: {mirror: {copies: 2, of: {extents: {}}}}}}";
    assert_eq!(step(parts, true), Some(Bytes::mib(3)));
    assert_eq!(step(parts, false), Some(Bytes::mib(1)));
}
