//! Ratios on a machine that does other things as well.
//!
//! The tasks take turns, A B C A B C, each for a few milliseconds; what is measured is the CPU time of the thread, what is
//! told the median of the ratios of each round. What slows the machine down for longer than a round slows all of them.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Task;

/// How long a task is at it in each of its turns.
const TURN: Duration = Duration::from_millis(4);

/// What a task takes, and what that is beside the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// CPU time of one go: the median over the rounds, in nanoseconds.
    pub nanoseconds: f64,
    /// The median over the rounds of the ratio to each task, itself among them.
    pub ratios: Vec<f64>,
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn time(task: &Task, times: u32) -> f64 {
    let begun = cpu();
    for _ in 0..times {
        task.run();
    }
    (cpu() - begun).as_nanos() as f64 / f64::from(times)
}

/// Measures the tasks against each other. With one round or none each runs once, to see that it does.
pub fn compare(tasks: &[&Task], rounds: usize) -> Vec<Cost> {
    let times: Vec<u32> = tasks.iter().map(|task| if rounds > 1 { times(task) } else { 1 }).collect();
    let rounds: Vec<Vec<f64>> = (0..rounds.max(1))
        .map(|_| tasks.iter().zip(&times).map(|(task, times)| time(task, *times)).collect())
        .collect();
    costs(&rounds)
}

/// What rounds of times, one time for each task, come to.
fn costs(rounds: &[Vec<f64>]) -> Vec<Cost> {
    let tasks = rounds.first().map_or(0, Vec::len);
    (0..tasks)
        .map(|own| Cost {
            nanoseconds: median(rounds.iter().map(|round| round[own])),
            ratios: (0..tasks).map(|other| median(rounds.iter().map(|round| round[own] / round[other]))).collect(),
        })
        .collect()
}

/// How often a task fits into a turn.
fn times(task: &Task) -> u32 {
    let mut times = 1;
    loop {
        let took = time(task, times) * f64::from(times);
        if took >= TURN.as_nanos() as f64 / 2.0 || times >= 1 << 24 {
            return times;
        }
        times *= 2;
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_slow_round_changes_no_ratio() {
        let costs = costs(&[vec![1.0, 2.0], vec![100.0, 200.0], vec![1.5, 3.0]]);
        assert_eq!(costs[0], Cost { nanoseconds: 1.5, ratios: vec![1.0, 0.5] });
        assert_eq!(costs[1], Cost { nanoseconds: 3.0, ratios: vec![2.0, 1.0] });
    }

    #[test]
    fn tasks_take_turns() {
        let turns = Rc::new(Cell::new(Vec::new()));
        let task = |name: char| {
            let turns = Rc::clone(&turns);
            Task::new(name, move || turns.set([turns.take(), vec![name]].concat()))
        };
        compare(&[&task('a'), &task('b')], 1);
        assert_eq!(turns.take(), ['a', 'b']);
    }
}
