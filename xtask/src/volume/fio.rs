//! Runs fio once and reads its results.

use super::case::Case;
use super::error::VolumeBenchError;
use lab::LabHost;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Size of a volume in MiB, all of which fio uses.
pub const SIZE_MIB: u64 = 256;

/// Access of fio to a volume.
#[derive(Clone, Debug)]
pub enum Target {
    /// Socket or URI for fio's NBD engine.
    Nbd(String),
    /// A file, in the mount namespace of a process.
    File(PathBuf, i32),
}

#[derive(Clone, Copy, Default, Debug)]
pub struct Numbers {
    /// Reads and writes a second.
    pub operations: f64,
    /// Total number of reads and writes.
    pub count: f64,
    pub mebibytes: f64,
    pub write_p50_us: f64,
    pub write_p99_us: f64,
    pub flush_p50_us: f64,
    pub flush_p99_us: f64,
}

impl Target {
    fn command(&self) -> Command {
        match self {
            Target::Nbd(uri) => {
                let mut command = Command::new("fio");
                command.args(["--ioengine=nbd", "--uri", uri]);
                command
            }
            Target::File(path, pid) => {
                let mut command = Command::new("nsenter");
                command.args(["--mount", "--target", &pid.to_string(), "fio"]);
                command.args(["--ioengine=libaio", "--direct=1", "--filename"]);
                command.arg(path);
                command
            }
        }
    }

    fn fio(&self, host: &LabHost, arguments: &[&str]) -> Result<String, VolumeBenchError> {
        let mut command = self.command();
        command.args(["--name=bench", "--output-format=json"]);
        command.arg(format!("--size={SIZE_MIB}m")).args(arguments);
        Ok(host.run(command)?)
    }

    /// Writes the whole volume once, so that no turn measures the allocation of blocks.
    pub fn fill(&self, host: &LabHost) -> Result<(), VolumeBenchError> {
        let arguments = ["--rw=write", "--bs=1m", "--iodepth=4", "--end_fsync=1"];
        self.fio(host, &arguments).map(drop)
    }

    /// Runs a case for this number of seconds.
    pub fn run(
        &self,
        host: &LabHost,
        case: Case,
        seconds: u32,
    ) -> Result<Numbers, VolumeBenchError> {
        let runtime = format!("--runtime={seconds}");
        let mut arguments = vec!["--time_based", &runtime];
        arguments.extend(case.arguments());
        let output = self.fio(host, &arguments)?;
        numbers(&output).ok_or(VolumeBenchError::NoNumbers(output))
    }
}

fn numbers(output: &str) -> Option<Numbers> {
    // The I/O engines of fio may print lines before the JSON.
    let json: Value = serde_json::from_str(output.get(output.find('{')?..)?).ok()?;
    let job = json.get("jobs")?.get(0)?;
    let (read, write) = (job.get("read")?, job.get("write")?);
    let both = |name: &str| Some(read.get(name)?.as_f64()? + write.get(name)?.as_f64()?);
    let at = |of: &Value, part: &str, percent: &str| {
        let value = of.get(part).and_then(|part| part.get("percentile"));
        let value = value.and_then(|values| values.get(percent)?.as_f64());
        value.unwrap_or_default() / 1000.0
    };
    let flush = job.get("sync").cloned().unwrap_or_default();
    Some(Numbers {
        operations: both("iops")?,
        count: both("total_ios")?,
        mebibytes: both("bw_bytes")? / f64::from(1 << 20),
        write_p50_us: at(write, "clat_ns", "50.000000"),
        write_p99_us: at(write, "clat_ns", "99.000000"),
        flush_p50_us: at(&flush, "lat_ns", "50.000000"),
        flush_p99_us: at(&flush, "lat_ns", "99.000000"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_both_directions() {
        let output = "fio: a warning\n{\"jobs\": [{
            \"read\": {\"iops\": 70.0, \"total_ios\": 700, \"bw_bytes\": 1048576},
            \"write\": {\"iops\": 30.0, \"total_ios\": 300, \"bw_bytes\": 1048576,
                \"clat_ns\": {\"percentile\": {\"50.000000\": 20000, \"99.000000\": 50000}}},
            \"sync\": {\"lat_ns\": {\"percentile\": {\"50.000000\": 80000, \"99.000000\": 90000}}}
        }]}";
        let numbers = numbers(output).unwrap();
        assert!((numbers.operations - 100.0).abs() < 1e-9);
        assert!((numbers.mebibytes - 2.0).abs() < 1e-9);
        let p50 = numbers.write_p50_us + numbers.flush_p50_us;
        assert!((p50 - 100.0).abs() < 1e-9);
        assert!(super::numbers("no json").is_none());
    }
}
