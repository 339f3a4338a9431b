//! The routes as the pipeline uses them: each with its backend and the rules of caching that hold for it.

use std::sync::Arc;

use http::Method;

use crate::backend::Backend;
use crate::front::Admitted;
use crate::policy::{QueryRule, Routes};
use crate::semantics::Policy;

/// What holds for the requests of one route.
#[derive(Clone)]
pub struct RoutePlan {
    pub backend: Arc<Backend>,
    pub policy: Arc<Policy>,
    pub query: QueryRule,
    /// Its requests go straight to the origin.
    pub passes: bool,
}

/// All routes.
pub struct Routing {
    routes: Routes,
    /// By a route's number: 0 is what no route takes.
    plans: Vec<Arc<RoutePlan>>,
}

impl Routing {
    /// `plans` by the numbers of `routes`, of which 0 is what no route takes.
    pub fn new(routes: Routes, plans: Vec<Arc<RoutePlan>>) -> Self {
        Routing { routes, plans }
    }

    /// The plan for a request.
    pub fn select(&self, host: &str, path: &str, method: &Method) -> &Arc<RoutePlan> {
        let number = self.routes.select(host, path, method).number;
        self.plans.get(number).unwrap_or(&self.plans[0])
    }

    /// The plan for a request in normal form.
    pub fn plan_for(&self, admitted: &Admitted) -> &Arc<RoutePlan> {
        match &self.plans[..] {
            [only] => only,
            _ => self.select(&admitted.host, admitted.path(), &admitted.request.method),
        }
    }

    /// All plans.
    pub fn plans(&self) -> &[Arc<RoutePlan>] {
        &self.plans
    }
}
