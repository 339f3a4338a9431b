"""What the script makes of samples, checked without starting a server."""
import unittest
import xml.etree.ElementTree

import lines
import report
import servers

RUN = {
    "versions": {"Larder": "larder 0.1.0"}, "rounds": 3, "seconds": 1.5, "commit": "abc",
    "machine": {"processor": "P", "cores": 2, "memory_gib": 4, "kernel": "6.1", "load": 1.0, "date": "2026-11-20"},
}


def cpu(*values):
    return [{"cpu_us": value, "mib_per_second": 1000 / value} for value in values]


class Table(unittest.TestCase):
    def setUp(self):
        self.samples = {
            "hit": {"larder": cpu(6, 8, 7), "haproxy": cpu(8, 10, 10), "floor": cpu(4, 4, 4)},
            "100k": {"larder": cpu(2, 2, 2), "nginx": cpu(1, 1, 1), "ats": cpu(9, 9, 9)},
            "start": {"larder": [{"millis": 30}, {"millis": 70}, {"millis": 40}]},
        }
        self.rows = {(row.title, row.against): row for row in lines.judge(self.samples)}

    def test_a_ratio_is_the_median_of_the_rounds_ratios(self):
        row = self.rows["hit of 1 KiB", "HAProxy"]
        self.assertAlmostEqual(row.ratio, 0.75)
        self.assertTrue(row.met)

    def test_what_misses_its_bound_is_said_to_miss_it(self):
        self.assertFalse(self.rows["hit of 1 KiB", "the floor"].met)
        self.assertIn("**missed**", report.markdown(self.rows.values(), RUN))

    def test_throughput_is_beside_the_best_peer_and_more_is_better(self):
        row = self.rows["hits of 100 KiB", "the best peer, nginx"]
        self.assertAlmostEqual(row.ratio, 0.5)
        self.assertFalse(row.met)

    def test_a_line_without_samples_is_not_in_the_table(self):
        self.assertNotIn(("hit of 1 KiB", "Varnish"), self.rows)

    def test_the_chart_is_an_image_with_a_bar_for_each_row(self):
        image = xml.etree.ElementTree.fromstring(report.chart(list(self.rows.values())))
        bars = [part for part in image.iter("{http://www.w3.org/2000/svg}rect")]
        self.assertEqual(len(bars), 1 + len(self.rows))

    def test_the_page_keeps_what_is_around_its_table(self):
        page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        self.assertEqual(report.into_page(page, "new"), f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n")
        with self.assertRaises(SystemExit):
            report.into_page("no markers", "new")

    def test_wrong_answers_end_the_measurement(self):
        good = '{"requests":9000,"seconds":1.5,"bytes":1,"errors":0,"p50_us":1,"p99_us":2}'
        self.assertEqual(servers.parse(good)["requests"], 9000)
        for bad in [good.replace('"errors":0', '"errors":100'), good.replace("9000", "0")]:
            with self.assertRaises(SystemExit):
                servers.parse(bad)


if __name__ == "__main__":
    unittest.main()
