// The suite as it stands at its head, made of the package: what the package lacks, or has otherwise, is written
// down here, in a form of our own. Tests that both have in the same sense are the package's.
//
// At its head the suite has 160 required and 105 optimal tests that apply to a shared cache; tests/conformance.rs
// holds these numbers. `Surrogate-Control`, which the head has no tests of any more, is not among them.

// A response that is kept, after which three seconds go by; and requests that expect to see it, or not to.
const stored = (...fields) => ({ response_headers: fields, setup: true, pause_after: true })
const atOnce = (...fields) => ({ response_headers: fields, setup: true })
const cached = { expected_type: 'cached' }
const asked = { expected_type: 'not_cached' }
const stale = () => stored(['Cache-Control', 'max-age=2'], ['Template-A', '1'])
const expecting = (request, ...fields) => ({ ...request, expected_response_headers: fields })

const test = (kind, id, requests, dependsOn) => ({ id, name: id, kind, requests, depends_on: dependsOn })

// id: [Age lines, expectation]; with max-age=3600 but for one.
const AGES = {
  nonnumeric: [['abc'], cached],
  negative: [['-7200'], cached],
  float: [['7200.0'], cached],
  'large-minus-one': [['2147483647'], asked],
  large: [['2147483648'], asked],
  larger: [['2147483649'], asked],
  suffix: [['7200, 0'], asked],
  prefix: [['0, 7200'], cached],
  'suffix-twoline': [['7200', '0'], asked],
  'prefix-twoline': [['0', '7200'], cached],
  'dup-0': [['0, 0'], cached],
  'dup-0-twoline': [['0', '0'], cached],
  'dup-old': [['3600', '3600'], cached, 10000]
}
const AGES_TO_LEARN = {
  parameter: [['7200;foo=bar'], asked],
  'numeric-parameter': [['7200;foo=111'], asked]
}

const ages = (kind, cases) => Object.entries(cases).map(([id, [lines, expectation, lifetime = 3600]]) => test(
  kind, `age-parse-${id}`,
  [stored(['Date', 0], ['Cache-Control', `max-age=${lifetime}`], ...lines.map(line => ['Age', line, false])), expectation],
  ['freshness-max-age-age']
))

// [kind, id, fields of the response that is kept, expectation]
const FOR_CDNS = [
  ['optimal', 'max-age', [['CDN-Cache-Control', 'max-age=3600']], cached],
  ['optimal', 'max-age-max', [['CDN-Cache-Control', 'max-age=2147483648']], cached],
  ['optimal', 'max-age-max-plus', [['CDN-Cache-Control', 'max-age=99999999999']], cached],
  ['required', 'max-age-age', [['Date', 0], ['CDN-Cache-Control', 'max-age=3600'], ['Age', '7200']], asked],
  ['check', 'max-age-space-before-equals', [['Cache-Control', 'max-age=1'], ['CDN-Cache-Control', 'max-age =100']], asked],
  ['check', 'max-age-space-after-equals', [['Cache-Control', 'max-age=1'], ['CDN-Cache-Control', 'max-age= 100']], asked],
  ['required', 'max-age-0', [['CDN-Cache-Control', 'max-age=0']], asked],
  ['optimal', 'max-age-extension', [['CDN-Cache-Control', 'foobar, max-age=3600']], cached],
  ['check', 'max-age-case-insensitive', [['CDN-Cache-Control', 'MaX-aGe=3600']], cached],
  ['optimal', 'max-age-expires', [['CDN-Cache-Control', 'max-age=3600'], ['Expires', -10000], ['Date', 0]], cached],
  ['optimal', 'max-age-cc-max-age-invalid-expires', [['CDN-Cache-Control', 'max-age=3600'], ['Expires', '0'], ['Date', 0]], cached],
  ['required', 'max-age-0-expires', [['CDN-Cache-Control', 'max-age=0'], ['Expires', 10000], ['Date', 0]], asked],
  ['optimal', 'max-age-short-cc-max-age', [['Cache-Control', 'max-age=1'], ['CDN-Cache-Control', 'max-age=3600']], cached],
  ['required', 'max-age-long-cc-max-age', [['Cache-Control', 'max-age=3600'], ['CDN-Cache-Control', 'max-age=1']], asked],
  ['required', 'private', [['CDN-Cache-Control', 'private'], ['Cache-Control', 'max-age=10000'], ['Expires', 10000], ['Date', 0]], asked],
  ['required', 'no-cache', [['CDN-Cache-Control', 'no-cache'], ['Cache-Control', 'max-age=10000'], ['Expires', 10000], ['Date', 0]], asked],
  ['required', 'no-store-cc-fresh', [['Cache-Control', 'max-age=10000'], ['CDN-Cache-Control', 'no-store'], ['Expires', 10000], ['Date', 0]], asked],
  ['required', 'fresh-cc-nostore', [['Cache-Control', 'no-store'], ['CDN-Cache-Control', 'max-age=10000']], cached],
  ['required', 'cc-invalid-sh-type-unknown', [['CDN-Cache-Control', 'max-age=10000, &&&&&'], ['Cache-Control', 'no-store']], asked],
  ['required', 'cc-invalid-sh-type-wrong', [['CDN-Cache-Control', 'max-age="10000"'], ['Cache-Control', 'no-store']], asked],
  ['check', 'remove-age-exceed', [['Cache-Control', 'max-age=1'], ['CDN-Cache-Control', 'max-age=10000'], ['Date', 0]], expecting({}, 'Age')],
  ['check', 'date-update-exceed', [['Cache-Control', 'max-age=1'], ['CDN-Cache-Control', 'max-age=10000'], ['Date', 0]], expecting({}, ['Date', 0])],
  ['check', 'expires-update-exceed', [['Cache-Control', 'max-age=1'], ['Expires', 1], ['CDN-Cache-Control', 'max-age=10000'], ['Date', 0]], expecting({}, ['Expires', 1])]
]

const forCdns = () => FOR_CDNS.map(([kind, id, fields, expectation]) => {
  // Whether the first client gets these two as they were sent is not what is asked here.
  const unchecked = ([name, value]) => [name, value, !(name === 'CDN-Cache-Control' || value === '0')]
  const needs = ['private', 'no-cache'].includes(id) ? [] : id.startsWith('max-age-max') || id === 'max-age' ? ['freshness-none'] : ['cdn-max-age']
  return test(kind, `cdn-${id}`, [stored(...fields.map(unchecked)), expectation], needs)
}).concat(test('check', 'cdn-remove-header', [{
  response_headers: [['Cache-Control', 'max-age=10000'], ['CDN-Cache-Control', 'foo', false], ['Expires', 10000], ['Date', 0]],
  expected_response_headers: [['CDN-Cache-Control', 'foo']]
}]))

// Interim responses: run.mjs sends them, and sees what comes of them.
const LINK = ['link', '</styles.css>; rel=preload; as=style']
const announced = interim => ({
  interim_responses: interim,
  expected_interim_responses: interim,
  response_headers: [['Cache-Control', 'max-age=100000'], ['Date', 0]],
  pause_after: true
})
const without = request => ({ ...request, expected_response_headers_missing: ['x-my-header'] })
const INTERIM = [
  test('optimal', 'interim-102', [announced([[102]]), cached]),
  test('optimal', 'interim-103', [announced([[103, [LINK, ['x-my-header', 'test']]]]), cached]),
  test('required', 'interim-not-cached', [announced([[103, [LINK]]]), { ...cached, expected_interim_responses: [] }]),
  test('optimal', 'interim-no-header-reuse', [without(announced([[103, [LINK, ['x-my-header', 'test']]]])), without(cached)])
]

// What a later response that must not be stored does to one that is fresh.
const beforeNoStore = later => [
  stored(['Cache-Control', 'max-age=10000'], ['Expires', 10000], ['Date', 0], ['A', '1']),
  stored(['Cache-Control', later], ['Date', 0], ['A', '2']),
  expecting(cached, ['a', '1'])
]

const monthAhead = 30 * 24 * 60 * 60
const ADDED = [
  test('required', 'freshness-max-age-stale', [stale(), asked], ['freshness-max-age']),
  test('required', 'cc-resp-no-store-old-new', beforeNoStore('no-store'), ['cc-resp-no-store']),
  test('required', 'cc-resp-no-store-old-max-age', beforeNoStore('no-store, max-age=0'), ['cc-resp-no-store']),
  test('optimal', 'stale-while-revalidate', [
    stored(['Cache-Control', 'max-age=1, stale-while-revalidate=3600'], ['ETag', '"abc"']), cached
  ], ['freshness-max-age-stale']),
  test('required', 'stale-while-revalidate-window', [
    stored(['Cache-Control', 'max-age=1, stale-while-revalidate=4'], ['ETag', '"abc"']),
    { ...stored(['Cache-Control', 'no-cache', false], ['ETag', '"def"', false]), ...cached },
    expecting({}, ['client-request-count', '3'])
  ], ['stale-while-revalidate']),
  test('optimal', 'status-200-must-understand', [
    { response_status: [200, 'OK'], ...atOnce(['Cache-Control', 'max-age=3600, no-store, must-understand']) }, cached
  ], ['status-200-fresh', 'cc-resp-no-store-fresh']),
  test('check', 'other-age-delay', [{
    response_headers: [['Cache-Control', 'max-age=3600'], ['Date', 0]],
    response_pause: 5,
    expected_response_headers: [['age', '>', 0]]
  }]),
  test('required', 'other-date-update-expires', [
    stored(['Expires', monthAhead], ['Date', 0]), expecting(cached, ['Date', 0])
  ], ['freshness-expires-future']),
  test('check', 'other-date-update-expires-update', [
    stored(['Expires', monthAhead], ['Date', 0]), expecting(cached, ['Expires', monthAhead])
  ], ['freshness-expires-future']),
  ...ages('required', AGES),
  ...ages('check', AGES_TO_LEARN),
  ...forCdns(),
  ...INTERIM
]

// These were withdrawn, or are among those added, in another sense.
const GONE = [
  /^age-parse-/,
  /^freshness-max-age-ignore-quoted-all/,
  /^freshness-max-age-multiple-/,
  /^surrogate-/
]

// Fields that a 304 has to bring up to date; for the others the suite only wants to know. Content-Length must stay.
const MUST_UPDATE = ['Test-Header', 'X-Test-Header', 'Content-Foo', 'X-Content-Foo', 'Cache-Control', 'Content-Length']
// Of these the package wants that they stay, and the head asks whether they are replaced: [before, after].
const ASKED_ABOUT = {
  'Content-Encoding': ['value-a', 'value-b'],
  'Content-MD5': ['rL0Y20zC+Fzt72VPzMSk2A==', 'N7UdGUp1E+RbVvZSTy1R8g=='],
  'Content-Range': ['value-a', 'value-b'],
  ETag: ['"abcdef"', '"ghijkl"']
}

// The package's lack the comma.
const DATES = {
  'freshness-expires-32bit': 'Tue, 19 Jan 2038 14:14:08 GMT',
  'freshness-expires-far-future': 'Sun, 21 Nov 2286 04:46:39 GMT'
}

function asksAbout304 (name, [before, after]) {
  const answer = (value, ...tag) => ({ response_headers: [['Date', 0], [name, value], ['Cache-Control', 'max-age=2'], ...tag] })
  const tag = name === 'ETag' ? [] : [['ETag', '"tag"']]
  const expected = { expected_response_headers: [[name, after]], setup_tests: ['expected_type'] }
  return [
    { ...answer(before, ...tag), setup: true, pause_after: true },
    { ...answer(after, ...tag), expected_type: 'etag_validated', ...expected },
    { ...answer(after), ...cached, ...expected }
  ]
}

function changed (test) {
  const update = test.id.match(/^304-etag-update-response-(.*)$/)?.[1]
  if (update) {
    test.kind = MUST_UPDATE.includes(update) ? 'required' : 'check'
    if (update in ASKED_ABOUT) test.requests = asksAbout304(update, ASKED_ABOUT[update])
    // A length that is the body's: the package announces another one.
    if (update === 'Content-Length') truthful(test)
  }
  if (/^freshness-expires-(32bit|far-future|rfc850|ansi-c|wrong-case-)/.test(test.id)) test.kind = 'optimal'
  // The package only asks whether a date that is none is taken for one.
  if (/^freshness-expires-invalid-(?!date$)/.test(test.id)) Object.assign(test, { kind: 'required', requests: [test.requests[0], { ...asked }] })
  if (test.id in DATES) test.requests[0].response_headers[0][1] = DATES[test.id]
  if (/^invalidate-.*-(location|cl)$/.test(test.id)) test.kind = 'check'
  if (test.id === 'partial-use-stored-headers') test.kind = 'required'
  if (test.id === 'conditional-etag-vary-headers-mismatch') {
    test.requests[0].response_headers[0] = ['Expires', 10000]
    test.requests[1] = { request_headers: [['Abc', '456']], expected_request_headers: [['If-None-Match', '"abcdef"']] }
  }
  // The origin breaks off: the cache's own error lacks the origin's counter, and is no stored response for that.
  const broken = test.requests.find(request => request.disconnect && request.expected_type === 'not_cached')
  if (test.id.startsWith('stale-close-') && broken) {
    delete broken.expected_type
    broken.expected_status = 502
    broken.check_body = false
    broken.expected_response_headers_missing = ['server-request-count']
  }
  return test
}

function truthful (test) {
  const bodyBytes = '36'
  for (const request of test.requests) {
    for (const fields of [request.response_headers, request.expected_response_headers ?? []]) {
      fields.filter(([name, value]) => name === 'Content-Length' && value === '5').forEach(field => { field[1] = bodyBytes })
    }
  }
}

export default function head (suites) {
  // The client writes into what it is given, and the parts above are shared.
  const own = { id: 'head', name: 'Of the head', tests: structuredClone(ADDED) }
  const packaged = suites.map(suite => ({
    ...suite,
    tests: suite.tests.filter(test => !GONE.some(gone => gone.test(test.id))).map(changed)
  }))
  return [...packaged, own]
}
