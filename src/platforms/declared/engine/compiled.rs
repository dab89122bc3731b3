//! An expression that minijinja compiles when it is first evaluated.

use std::sync::OnceLock;

use minijinja::{Environment, Error, Expression, Value};

use super::scope::Scope;

/// See the module. It was compiled before, to find what is wrong with it; but most expressions are evaluated without
/// minijinja, and what it makes of one takes twelve KiB.
pub(super) struct Compiled {
    text: Box<str>,
    env: &'static Environment<'static>,
    made: OnceLock<Expression<'static, 'static>>,
}

impl Compiled {
    pub(super) fn new(env: &'static Environment<'static>, text: &str) -> Self {
        Self { text: text.into(), env, made: OnceLock::new() }
    }

    pub(super) fn eval(&self, scope: &Scope<'_>) -> Result<Value, Error> {
        let made = match self.made.get() {
            Some(made) => made,
            None => {
                let made = self.env.compile_expression_owned(self.text.to_string())?;
                self.made.get_or_init(|| made)
            }
        };
        made.eval(scope.machine())
    }
}
