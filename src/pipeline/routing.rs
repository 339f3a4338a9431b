//! The routes as the pipeline uses them: each with its backend and the rules of caching that hold for it.

use std::sync::Arc;

use http::Method;

use crate::backend::Backend;
use crate::front::Admitted;
use crate::metrics::Sharded;
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
    /// By a route's number: 0 is what no route takes. Each request takes a reference to its plan and gives it
    /// back, so each worker has copies of its own: two that counted in one place would wait for each other.
    plans: Sharded<Vec<Arc<RoutePlan>>>,
}

impl Routing {
    /// `plans` by the numbers of `routes`, of which 0 is what no route takes.
    pub fn new(routes: Routes, plans: Vec<RoutePlan>) -> Self {
        Routing { routes, plans: Sharded::with(|_| plans.iter().cloned().map(Arc::new).collect()) }
    }

    /// The plan for a request.
    pub fn select(&self, host: &str, path: &str, method: &Method) -> &Arc<RoutePlan> {
        let number = self.routes.select(host, path, method).number;
        let plans = self.plans.mine();
        plans.get(number).unwrap_or(&plans[0])
    }

    /// The plan for a request in normal form.
    pub fn plan_for(&self, admitted: &Admitted) -> &Arc<RoutePlan> {
        match &self.plans.mine()[..] {
            [only] => only,
            _ => self.select(&admitted.host, admitted.path(), &admitted.request.method),
        }
    }
}
