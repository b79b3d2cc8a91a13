//! Command lines and reports.

use super::*;

#[test]
fn a_job_says_what_it_does() {
    let mut job = Job::new("randrw", 16);
    job.flush_every = 8;
    job.read_percent = 70;
    job.verify = Some(Verify::Writing);
    job.end = End::After {
        ramp: Duration::from_millis(500),
        time: Duration::from_secs(3),
    };
    let line = format!("{:?}", job.command(Target::Device(Path::new("/dev/x"))));
    for word in [
        "--rw=randrw",
        "--rwmixread=70",
        "--fsync=8",
        "--direct=1",
        "--runtime=3000ms",
        "--verify=crc32c",
        "--filename=/dev/x",
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }
    let files = Target::Files {
        dir: Path::new("/d"),
        count: 2,
        size: 4096,
    };
    let line = format!("{:?}", Job::new("write", 1).command(files));
    assert!(
        line.contains("--numjobs=2") && !line.contains("--verify"),
        "{line}"
    );
}

#[test]
fn a_report_is_read() {
    let text = r#"fio: a note
{"fio version": "fio-3.33", "jobs": [{"jobname": "job", "error": 5,
 "read": {"total_ios": 10, "iops": 2.5, "clat_ns": {"max": 2000000000}},
 "write": {"total_ios": 30, "iops": 7.5,
  "clat_ns": {"max": 1000000, "percentile": {"50.000000": 500000}}}}]}
another"#;
    let report = Report::parse(text).unwrap();
    assert_eq!((report.error, report.ios(), report.rate()), (5, 40, 10.0));
    assert_eq!(report.write.p50, 0.0005);
    assert_eq!(report.slowest(), Duration::from_secs(2));
    for bad in ["", "{}", "no", r#"{"jobs": []}"#] {
        assert!(Report::parse(bad).is_err(), "{bad}");
    }
}
