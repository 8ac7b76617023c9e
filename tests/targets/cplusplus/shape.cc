// SPDX-License-Identifier: GPL-3.0-or-later
#include "shape.hh"
#include <map>
#include <memory>
#include <typeinfo>
namespace shapes
{
namespace
{
class Square : public Shape
{
      public:
	explicit Square(int side) : side_(side)
	{
	}
	int area() const override
	{
		return side_ * side_;
	}
	std::string name() const override
	{
		return "square";
	}

      private:
	int side_;
};
class Circle : public Shape
{
      public:
	explicit Circle(int r) : r_(r)
	{
	}
	int area() const override
	{
		return 3 * r_ * r_;
	}

      private:
	int r_;
};
std::map<std::string, int> seen;
} // namespace
std::unique_ptr<Shape> made(int kind, int size)
{
	counter()++;
	if (kind == 1)
		return std::unique_ptr<Shape>(new Square(size));
	return std::unique_ptr<Shape>(new Circle(size));
}
int inspect(const Shape &shape)
{
	seen[shape.name()]++;
	if (dynamic_cast<const Square *>(&shape))
		return 1000 + shape.area();
	if (shape.area() > 500)
		throw std::length_error("large");
	return shape.area();
}
int all(int n)
{
	std::vector<int> areas;
	for (int i = 0; i < n; i++) {
		auto shape = made(i & 1, i);
		try {
			areas.push_back(inspect(*shape));
		} catch (const std::length_error &) {
			areas.push_back(-1);
		}
	}
	return largest(areas);
}
} // namespace shapes
extern "C" int run(int n)
{
	try {
		return shapes::all(n);
	} catch (const shapes::Refused &refused) {
		return -static_cast<int>(std::string(refused.what()).size());
	} catch (...) {
		return -1000;
	}
}
extern "C" int counted()
{
	return shapes::counter();
}
