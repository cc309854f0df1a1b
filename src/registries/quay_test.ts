import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";
import { quayFront, quayRobotFront } from "../../tests/fronts/quay_front.ts";

conformanceSuite(quayFront);
conformanceSuite(quayRobotFront);
