#include "server/progress.h"

#include <gtest/gtest.h>

namespace fedpeft::server {
namespace {

TEST(ProgressTest, LineSaysWhatARoundBroughtAndWhatRemains) {
  RoundRecord record;
  record.round = 3;
  record.participants = 4;
  record.train_loss = 0.81234;
  record.bytes_up = 1'600'000;
  record.bytes_down = 3'200'000;
  record.seconds = 12.3;
  EXPECT_EQ(RoundLine(record, 12),
            "round 3/12  4 clients  loss 0.8123  up 1.6 MB  down 3.2 MB  12.3 s  9 to go, about 2 min");
  EvaluationRecord evaluation;
  evaluation.counts.examples = 1000;
  evaluation.counts.correct = 712;
  evaluation.best = true;
  record.evaluation = evaluation;
  EXPECT_EQ(RoundLine(record, 3),
            "round 3/3  4 clients  loss 0.8123  accuracy 71.20 % (best)  up 1.6 MB  down 3.2 MB  12.3 s  last round");
}

TEST(ProgressTest, LineOfTheStartHasNoClients) {
  RoundRecord start;
  EXPECT_EQ(RoundLine(start, 12), "round 0/12  start");
}

}  // namespace
}  // namespace fedpeft::server
