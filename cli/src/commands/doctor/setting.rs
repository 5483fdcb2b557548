/// A value of a template or of an API's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Setting<T> {
    /// Not set, so the API's default applies.
    #[default]
    Absent,
    /// Set to an expression that cannot be evaluated here, such as `${Retries}` or `{"Fn::ImportValue":"retries"}`. Two
    /// equal expressions of one template have equal values.
    Unknown(String),
    /// Set to this value.
    Known(T),
}

/// A setting whose value a rule needs and cannot know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) setting: &'static str,
    /// The expression that hides the value.
    pub(super) expression: String,
}

/// Functions whose result may be `AWS::NoValue`, or that add members.
const MAY_BE_ABSENT: [&str; 3] = ["Fn::If", "Fn::Transform", "Fn::ForEach"];

impl<T> Setting<T> {
    /// Returns the value, or `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`Unknown`] with this name of the setting.
    pub(super) fn get(&self, setting: &'static str) -> Result<Option<&T>, Unknown> {
        match self {
            Setting::Absent => Ok(None),
            Setting::Unknown(expression) => Err(Unknown { setting, expression: expression.clone() }),
            Setting::Known(value) => Ok(Some(value)),
        }
    }

    /// Returns whether a value is set, even if the value is unknown.
    ///
    /// # Errors
    ///
    /// [`Unknown`] if an expression decides whether it is set.
    pub(super) fn is_set(&self, setting: &'static str) -> Result<bool, Unknown> {
        match self {
            Setting::Unknown(expression) if !MAY_BE_ABSENT.iter().any(|name| expression.contains(name)) => {
                Ok(true)
            }
            other => Ok(other.get(setting)?.is_some()),
        }
    }

    /// Returns the value if it is known.
    pub(super) fn known(&self) -> Option<&T> {
        match self {
            Setting::Known(value) => Some(value),
            Setting::Absent | Setting::Unknown(_) => None,
        }
    }

    /// Converts a known value to another setting.
    pub(super) fn and_then<U>(self, convert: impl FnOnce(T) -> Setting<U>) -> Setting<U> {
        match self {
            Setting::Absent => Setting::Absent,
            Setting::Unknown(expression) => Setting::Unknown(expression),
            Setting::Known(value) => convert(value),
        }
    }
}

impl<T> From<Option<T>> for Setting<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Setting::Absent, Setting::Known)
    }
}
