// Runs the published HTTP cache test suite against a cache, without a browser and without npm scripts.
//
//   node run.mjs PACKAGE origin            the suite's origin on a free port of 127.0.0.1; prints the port
//   node run.mjs PACKAGE tests BASE [ID]   all tests (or one, with its exchanges) through the cache at BASE;
//                                          prints { id: { kind, result, detail } } as JSON
//   node run.mjs PACKAGE peers             the same counts for the results that the package itself carries
//
// PACKAGE is the directory of http-cache-tests. `result` is the suite's own judgement (display.mjs): pass,
// fail, optional_fail, yes, no, setup_fail, harness_fail, dependency_fail, retry or untested.

import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { createRequire } from 'node:module'

const [directory, task, base, only] = process.argv.slice(2)
const packageFile = name => path.resolve(directory, name)

const SYMBOLS = {
  '-': 'untested',
  '✅': 'pass',
  '⛔️': 'fail',
  '⚠️': 'optional_fail',
  Y: 'yes',
  N: 'no',
  '🔹': 'setup_fail',
  '⁉️': 'harness_fail',
  '⚪️': 'dependency_fail',
  '↻': 'retry'
}

async function origin () {
  const handlers = {}
  for (const name of ['config', 'state', 'test']) {
    handlers[name] = (await import(packageFile(`server/handle-${name}.mjs`))).default
  }
  // The handlers log to the console; the port must be the one line on standard output.
  console.log = () => {}
  const server = http.createServer((request, response) => {
    const [first, ...rest] = new URL(request.url, 'http://localhost').pathname.split('/').slice(1)
    const handle = handlers[first]
    if (handle) return handle(rest, request, response)
    response.statusCode = 404
    response.end()
  })
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
}

async function suites () {
  const suites = (await import(packageFile('tests/index.mjs'))).default
  suites.push((await import(packageFile('tests/surrogate-control.mjs'))).default)
  for (const suite of suites) suite.tests.forEach(correct)
  return suites
}

// Four required tests of version 0.4.5 fail whatever a cache does: the origin breaks off, and the error that
// the cache then has to make itself is taken for a stored response, because it lacks the origin's counter.
// The suite's later versions ask for what is asked for here: an error, without that counter.
function correct (test) {
  const broken = test.requests.find(request => request.disconnect && request.expected_type === 'not_cached')
  if (!test.id.startsWith('stale-close-') || !broken) return
  delete broken.expected_type
  broken.expected_status = 502
  broken.check_body = false
  broken.expected_response_headers_missing = ['server-request-count']
}

// Every test that applies to a shared cache, judged.
async function judged (suites, results) {
  const display = await import(packageFile('lib/display.mjs'))
  const all = {}
  for (const suite of suites) {
    for (const test of suite.tests) {
      if (test.browser_only === true) continue
      const symbol = display.determineTestResult(suites, test.id, results)[2]
      const detail = Array.isArray(results[test.id]) ? results[test.id].join(': ') : undefined
      all[test.id] = { kind: test.kind ?? 'required', result: SYMBOLS[symbol] ?? symbol, detail }
    }
  }
  return all
}

async function tests () {
  const { runTests, getResults } = await import(packageFile('client/runner.mjs'))
  const fetch = createRequire(packageFile('package.json'))('node-fetch')
  const all = await suites()
  if (only) {
    const one = all.flatMap(suite => suite.tests).find(test => test.id === only)
    if (!one) throw new Error(`no test ${only}`)
    one.dump = true
    await runTests([{ name: only, id: only, tests: [one] }], fetch, false, base)
    process.stdout.write(`${JSON.stringify(getResults(), null, 2)}\n`)
    return
  }
  const log = console.log
  console.log = () => {}
  await runTests(all, fetch, false, base)
  console.log = log
  process.stdout.write(`${JSON.stringify(await judged(all, getResults()))}\n`)
}

async function peers () {
  const all = await suites()
  const index = (await import(packageFile('results/index.mjs'))).default
  const counts = {}
  for (const peer of index.filter(peer => peer.type !== 'browser')) {
    const results = JSON.parse(fs.readFileSync(packageFile(`results/${peer.file}`), 'utf8'))
    const count = {}
    for (const { kind, result } of Object.values(await judged(all, results))) {
      count[kind] ??= {}
      count[kind][result] = (count[kind][result] ?? 0) + 1
    }
    counts[`${peer.name} ${peer.version}`] = count
  }
  process.stdout.write(`${JSON.stringify(counts, null, 2)}\n`)
}

const tasks = { origin, tests, peers }
await (tasks[task] ?? (() => { throw new Error(`no task ${task}`) }))()
if (task !== 'origin') process.exit(0)
