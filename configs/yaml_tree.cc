#include "configs/yaml_tree.h"

#include <unicode/ustring.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <set>
#include <sstream>
#include <utility>

namespace fedpeft::configs {

namespace {

using Kind = YamlNode::Kind;

Place ToPlace(const YAML::Mark& mark) {
  if (mark.is_null()) return {1, 1, 0};
  return {mark.line + 1, mark.column + 1, 0};
}

/// Builds the tree from yaml-cpp's events, which carry a place for everything; its own node graph drops duplicate keys
/// and follows aliases silently.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::vector<Finding>* findings) : findings_(findings) {}

  YamlNode TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node;
    node.place = ToPlace(mark);
    CheckAnchor(anchor, node.place);
    if (!open_.empty()) {
      node.kind = Kind::kBad;
      // yaml-cpp places a value that is not there at the next token.
      const Place place = open_.back().has_key ? open_.back().key_place : node.place;
      Report(place, "got null, want a value (leave the key out to have its default, quote it if it is text)");
    }
    Add(std::move(node));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    YamlNode node;
    node.kind = Kind::kBad;
    node.place = ToPlace(mark);
    Report(node.place, "got an alias (*), want the value itself");
    Add(std::move(node));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node;
    node.kind = Kind::kScalar;
    node.place = ToPlace(mark);
    node.text = value;
    node.quoted = tag == "!";
    CheckAnchor(anchor, node.place);
    CheckTag(tag, node.place);
    Add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  /// A list or map whose end has not come.
  struct OpenNode {
    YamlNode node;
    /// Of a map: the keys so far, and the one that waits for its value.
    std::set<std::string> keys;
    bool has_key = false;
    /// The waiting key was refused; its value is dropped.
    bool drop = false;
    std::string key;
    Place key_place;
  };

  void Open(Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    OpenNode open;
    open.node.kind = kind;
    open.node.place = ToPlace(mark);
    CheckAnchor(anchor, open.node.place);
    CheckTag(tag, open.node.place);
    if (open_.size() == kMaxYamlDepth) {
      Report(open.node.place, "is nested too deeply, want at most " + std::to_string(kMaxYamlDepth) + " levels");
    }
    open_.push_back(std::move(open));
  }

  void Close() {
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    if (open_.size() >= kMaxYamlDepth) {
      node.kind = Kind::kBad;
      node.items.clear();
    }
    Add(std::move(node));
  }

  /// A finished node: the root, an item, a map's next key, or the value of the waiting key.
  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    OpenNode& parent = open_.back();
    if (parent.node.kind == Kind::kMap) {
      if (!parent.has_key) {
        TakeKey(node);
        return;
      }
      parent.has_key = false;
      if (parent.drop) return;
      node.key = std::move(parent.key);
      node.key_place = parent.key_place;
    }
    parent.node.items.push_back(std::move(node));
  }

  void TakeKey(const YamlNode& node) {
    OpenNode& parent = open_.back();
    parent.drop = true;
    if (node.kind != Kind::kScalar) {
      if (node.kind != Kind::kBad) Report(node.place, "got a list or map as a key, want a name");
    } else if (node.text == "<<") {
      Report(node.place, "got a merge key (<<), want the keys themselves");
    } else if (!parent.keys.insert(node.text).second) {
      Report(node.place, "got the key " + Quoted(node.text) + " a second time, want it once");
    } else {
      parent.drop = false;
    }
    parent.has_key = true;
    parent.key = node.text;
    parent.key_place = node.place;
  }

  void CheckAnchor(YAML::anchor_t anchor, const Place& place) {
    if (anchor != 0) Report(place, "got an anchor (&), want a plain value");
  }

  /// yaml-cpp tags plain scalars "?", quoted ones "!", and collections without a tag "" or "?".
  void CheckTag(const std::string& tag, const Place& place) {
    if (!tag.empty() && tag != "?" && tag != "!") Report(place, "got the tag " + Quoted(tag) + ", want none");
  }

  void Report(const Place& place, std::string message) { findings_->push_back({Path(), std::move(message), place}); }

  /// Of the value that is being read.
  std::string Path() const {
    std::string path;
    for (const OpenNode& open : open_) {
      if (open.node.kind == Kind::kList) path = JoinKey(path, std::to_string(open.node.items.size()));
      if (open.node.kind == Kind::kMap && open.has_key) path = JoinKey(path, open.key);
    }
    return path;
  }

  std::vector<Finding>* findings_;
  std::vector<OpenNode> open_;
  YamlNode root_;
};

bool IsUtf8(std::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  std::int32_t length = 0;
  u_strFromUTF8(nullptr, 0, &length, text.data(), static_cast<std::int32_t>(text.size()), &error);
  return U_SUCCESS(error) || error == U_BUFFER_OVERFLOW_ERROR;
}

/// Finds the first line that is not text. Messages and exports carry what is read here, and protobuf wants UTF-8.
bool CheckText(std::string_view text, std::vector<Finding>* findings) {
  Place place{1, 1, 0};
  for (std::size_t start = 0; start < text.size(); ++place.line) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    if (!IsUtf8(line) || line.find('\0') != std::string_view::npos) {
      findings->push_back({"", "got a line that is not text, want UTF-8 without zero bytes", place});
      return false;
    }
    start = end + 1;
  }
  return true;
}

}  // namespace

const YamlNode* YamlNode::Find(std::string_view name) const {
  if (kind != Kind::kMap) return nullptr;
  const auto found = std::find_if(items.begin(), items.end(), [&](const YamlNode& item) { return item.key == name; });
  return found == items.end() ? nullptr : &*found;
}

YamlNode ParseYaml(std::string_view text, std::vector<Finding>* findings) {
  YamlNode bad;
  bad.kind = Kind::kBad;
  if (text.size() > kMaxYamlBytes) {
    findings->push_back(
        {"", "has " + std::to_string(text.size()) + " bytes, want at most " + std::to_string(kMaxYamlBytes)});
    return bad;
  }
  if (!CheckText(text, findings)) return bad;
  TreeBuilder builder(findings);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) return {};
    YamlNode root = builder.TakeRoot();
    if (parser.HandleNextDocument(builder)) {
      findings->push_back({"", "got a second document, want one", builder.TakeRoot().place});
      return bad;
    }
    return root;
  } catch (const YAML::Exception& error) {
    findings->push_back({"", "is not YAML: " + error.msg, ToPlace(error.mark)});
  } catch (const std::exception& error) {
    findings->push_back({"", std::string("is not YAML: ") + error.what()});
  }
  return bad;
}

}  // namespace fedpeft::configs
