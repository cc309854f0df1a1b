import { acrFront } from "../../tests/fronts/acr_front.ts";
import { conformanceSuite } from "../../tests/fronts/conformance_suite.ts";

conformanceSuite(acrFront);
