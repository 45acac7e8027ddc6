use serde::{Deserialize, Serialize};

/// How the learning rate goes from its peak to its end, after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// In a straight line.
    Linear,
    /// Along half a cosine.
    Cosine,
    /// By the power of what is left of the run, 0.7 by default: slower at first.
    #[default]
    Polynomial,
}

/// A schedule with its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LearningRate {
    pub(crate) schedule: Schedule,
    pub(crate) peak: f64,
    pub(crate) end: f64,
    pub(crate) power: f64,
    pub(crate) warmup_steps: usize,
    pub(crate) steps: usize,
}

impl LearningRate {
    /// The rate of a step (from 0). The warm-up rises in a straight line and reaches the peak with
    /// its last step; the last step of the run is one step short of the end.
    pub(crate) fn at(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let decay = self.steps.saturating_sub(self.warmup_steps).max(1);
        let done = ((step - self.warmup_steps) as f64 / decay as f64).min(1.0);
        let left = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - done,
            Schedule::Cosine => (1.0 + (std::f64::consts::PI * done).cos()) / 2.0,
            Schedule::Polynomial => (1.0 - done).powf(self.power),
        };
        self.end + (self.peak - self.end) * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(schedule: Schedule) -> LearningRate {
        LearningRate {
            schedule,
            peak: 1e-3,
            end: 1e-4,
            power: 0.7,
            warmup_steps: 10,
            steps: 110,
        }
    }

    #[test]
    fn every_schedule_warms_up_to_the_peak_and_falls_to_the_end() {
        for schedule in [Schedule::Linear, Schedule::Cosine, Schedule::Polynomial] {
            let rate = rate(schedule);
            assert!(rate.at(0) > 0.0 && (rate.at(9) - 1e-3).abs() < 1e-12);
            assert!((9..200).all(|step| rate.at(step + 1) <= rate.at(step)));
            assert!((rate.at(110) - 1e-4).abs() < 1e-12, "{schedule:?}");
        }
        assert!((10..200).all(|step| rate(Schedule::Constant).at(step) == 1e-3));
    }

    #[test]
    fn half_way_is_what_the_formulas_say() {
        let half = |schedule| rate(schedule).at(60);
        assert!((half(Schedule::Linear) - 5.5e-4).abs() < 1e-9);
        assert!((half(Schedule::Cosine) - 5.5e-4).abs() < 1e-9);
        assert!((half(Schedule::Polynomial) - (1e-4 + 9e-4 * 0.5f64.powf(0.7))).abs() < 1e-9);
    }
}
