//! What the operator may bend, evaluated per request (routes, rules): pure.
