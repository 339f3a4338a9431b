//! The routes as the pipeline uses them: each with its backend and the rules of caching that hold for it.

use std::sync::Arc;

use http::Method;

use crate::backend::Backend;
use crate::front::Admitted;
use crate::message::Fields;
use crate::metrics::Sharded;
use crate::policy::{AmbiguousPaths, CookieRule, Handling, QueryRule, RequestContent, Routes, Taken};
use crate::semantics::Policy;

/// What holds for the requests of one route.
#[derive(Clone)]
pub struct RoutePlan {
    /// Its place in the file, from 1; 0 is the plan of all that no route takes.
    pub number: u16,
    pub backend: Arc<Backend>,
    pub policy: Arc<Policy>,
    pub query: QueryRule,
    pub cookies: CookieRule,
    /// Cookies decided that a request takes it.
    pub by_cookie: bool,
    /// So did the method.
    pub by_method: bool,
    /// What tells its responses apart from those of other routes for the same URL, where cookies or the method
    /// decided between them. The same after a reload as long as its conditions and its backend are.
    pub own: u128,
    /// Its requests go straight to the origin.
    pub passes: bool,
    /// The protocols that may be switched to, whatever is stored; left out, WebSocket where nothing is.
    pub upgrade: Option<Vec<String>>,
    pub request_content: RequestContent,
}

/// All routes.
pub struct Routing {
    routes: Routes,
    /// By a route's number: 0 is what no route takes. Each request takes a reference to its plan and gives it
    /// back, so each worker has copies of its own: two that counted in one place would wait for each other.
    plans: Sharded<Vec<Arc<RoutePlan>>>,
    /// The same plans, for requests whose path may be read so that it takes another route: these are passed.
    strict: Sharded<Vec<Arc<RoutePlan>>>,
    /// The same plans, for requests whose path is another route's in another case of letters.
    careful: Sharded<Vec<Arc<RoutePlan>>>,
    ambiguous: AmbiguousPaths,
    /// Whether any route looks at the method.
    by_method: bool,
    /// [`RoutePlan::own`] of all that may need it.
    own: Vec<u128>,
}

/// What comes of the path that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathReading {
    /// Its route takes it however an origin reads it.
    Clear,
    /// An origin may read it so that another route takes it: it is passed.
    Passed,
    /// The same, and it is not even passed.
    Refused,
}

/// How a request goes on from here.
pub struct Course {
    /// By the letters of its path.
    pub plan: Arc<RoutePlan>,
    pub reading: PathReading,
}

impl Routing {
    /// `plans` by the numbers of `routes`, of which 0 is what no route takes.
    pub fn new(routes: Routes, plans: Vec<RoutePlan>, ambiguous: AmbiguousPaths) -> Self {
        let strict = |plan: &RoutePlan| Arc::new(RoutePlan { passes: true, ..plan.clone() });
        let careful = |plan: &RoutePlan| {
            let policy = Arc::new(plan.policy.by_the_origin_alone());
            Arc::new(RoutePlan { policy, ..plan.clone() })
        };
        let by_method = plans.iter().any(|plan| plan.by_method);
        let may_be_own = |plan: &&RoutePlan| by_method || plan.by_cookie;
        Routing {
            routes,
            by_method,
            own: plans.iter().filter(may_be_own).map(|plan| plan.own).collect(),
            plans: Sharded::with(|_| plans.iter().cloned().map(Arc::new).collect()),
            strict: Sharded::with(|_| plans.iter().map(strict).collect()),
            careful: Sharded::with(|_| plans.iter().map(careful).collect()),
            ambiguous,
        }
    }

    /// The plan for a request.
    pub fn select(&self, host: &str, path: &str, method: &Method, fields: &Fields) -> &Arc<RoutePlan> {
        let number = self.routes.select(host, path, method, fields).number;
        let plans = self.plans.mine();
        plans.get(number).unwrap_or(&plans[0])
    }

    /// The plan that a URL goes by, where this request's is another one because of its cookies or its method. Purges
    /// know of neither: what of the query counts is what counts there.
    pub fn plan_of_url(&self, plan: &RoutePlan, admitted: &Admitted) -> Option<&Arc<RoutePlan>> {
        let method = &admitted.request.method;
        if !plan.by_cookie && (!self.by_method || *method == Method::GET) {
            return None;
        }
        let usual = self.select(&admitted.host, admitted.path(), &Method::GET, &Fields::new());
        (usual.number != plan.number).then_some(usual)
    }

    /// What tells apart the routes that may have responses of their own for one URL.
    pub fn own(&self) -> &[u128] {
        &self.own
    }

    /// The course of a request in normal form.
    pub fn course_of(&self, admitted: &Admitted) -> Course {
        let plans = self.plans.mine();
        let (path, method) = (admitted.path(), &admitted.request.method);
        let fields = &admitted.request.headers;
        let by_number =
            |plans: &[Arc<RoutePlan>], number: usize| plans.get(number).unwrap_or(&plans[0]).clone();
        let (plan, reading) = match self.routes.choose(&admitted.host, path, method, fields, self.ambiguous) {
            Taken::Perhaps(route) if route.handling != Handling::Pass => {
                (by_number(self.strict.mine(), route.number), PathReading::Passed)
            }
            Taken::Carefully(route) => (by_number(self.careful.mine(), route.number), PathReading::Clear),
            Taken::Surely(route) | Taken::Perhaps(route) => {
                (by_number(plans, route.number), PathReading::Clear)
            }
            Taken::Refused(route) => (by_number(plans, route.number), PathReading::Refused),
        };
        Course { plan, reading }
    }
}
