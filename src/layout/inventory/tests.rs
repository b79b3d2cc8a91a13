//! Inventories that cannot be true, and the books of a disk.

use super::*;

fn inventory() -> Inventory {
    let disk = |n: u8| Disk {
        uid: DiskUid([n; 16]),
        name: format!("d{n}"),
        node: NodeName("n1".to_owned()),
        attributes: [("media".to_owned(), "ssd".to_owned())].into(),
        units: 10,
        free: vec![
            UnitRange { start: 0, count: 4 },
            UnitRange { start: 6, count: 4 },
        ],
        promised: None,
        health: Health::Ok,
        schedulable: true,
    };
    Inventory {
        overcommit_percent: 100,
        disks: vec![disk(1), disk(2)],
    }
}

#[test]
fn a_file_may_leave_out_what_is_usual() {
    let text = "
disks:
- uid: 00000000000000000000000000000001
  name: d1
  node: n1
  attributes: {enclosure: a}
  units: 16
  free: [{start: 0, count: 16}]
";
    let inventory: Inventory = serde_yaml::from_str(text).unwrap();
    inventory.validate().unwrap();
    let d = &inventory.disks[0];
    assert_eq!(
        (d.health, d.schedulable, inventory.overcommit_percent),
        (Health::Ok, true, 100)
    );
    assert_eq!(
        (d.attribute("node"), d.attribute("disk")),
        (Some("n1"), Some("d1"))
    );
    assert_eq!(
        (d.attribute("enclosure"), d.attribute("rack")),
        (Some("a"), None)
    );
    assert!(serde_yaml::from_str::<Inventory>(&text.replace("units", "unit")).is_err());
}

#[test]
fn what_cannot_be_true_is_refused() {
    type Change = fn(&mut Inventory);
    let cases: [(Change, &str); 10] = [
        (
            |i| i.disks[1].uid = i.disks[0].uid,
            "is there twice: as 'd1' and as 'd2'",
        ),
        (
            |i| i.disks[1].name = "d1".to_owned(),
            "two disks are called 'd1'",
        ),
        (|i| i.disks[1].node.0.clear(), "empty name or node"),
        (
            |i| i.disks[0].free[0].count = 7,
            "overlap or are out of order at unit 6",
        ),
        (
            |i| i.disks[0].free.swap(0, 1),
            "overlap or are out of order at unit 0",
        ),
        (
            |i| i.disks[0].free[1].count = u32::MAX,
            "reach beyond its 10 units",
        ),
        (|i| i.disks[0].free[1].count = 0, "are empty"),
        (
            |i| i.disks[0].promised = Some(1),
            "1 units promised, but 2 are granted",
        ),
        (|i| i.overcommit_percent = 0, "overcommitPercent is 0"),
        (
            |i| {
                drop(
                    i.disks[0]
                        .attributes
                        .insert("node".to_owned(), "x".to_owned()),
                )
            },
            "'node' is reserved",
        ),
    ];
    for (change, says) in cases {
        let mut i = inventory();
        i.validate().unwrap();
        change(&mut i);
        let error = i.validate().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn books_add_up() {
    let mut i = inventory();
    let before = i.disks[0].clone();
    let d = i.disk_mut(DiskUid([1; 16])).unwrap();
    let some = [
        UnitRange { start: 1, count: 2 },
        UnitRange { start: 6, count: 4 },
    ];
    d.take(&some).unwrap();
    assert_eq!(
        d.free,
        [
            UnitRange { start: 0, count: 1 },
            UnitRange { start: 3, count: 1 }
        ]
    );
    assert!(matches!(
        d.take(&some[..1]),
        Err(InventoryError::NotFree { unit: 1, .. })
    ));
    d.put_back(&some).unwrap();
    assert_eq!(d.free, before.free);
    assert!(matches!(
        d.put_back(&some),
        Err(InventoryError::Overlap { .. })
    ));
    assert_eq!(d.promised_units(), 2);
    assert!(i.disk_mut(DiskUid([9; 16])).is_err());
}
